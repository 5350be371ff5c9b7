//! The files beside `tokenizer.json`, and what transformers applies of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use hayloft_checkpoint::read_json;
use serde_json::{Map, Value};
use tokenizers::models::ModelWrapper;
use tokenizers::normalizers::{NormalizerWrapper, Sequence as Normalizers};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::metaspace::PrependScheme;
use tokenizers::{AddedToken, NormalizedString, Normalizer, Tokenizer};

use crate::error::ModelError;

/// The file that names roles of tokens, and tokens that the vocabulary is to have.
const CONFIG: &str = "tokenizer_config.json";
/// Roles of tokens, as earlier versions wrote them.
const SPECIAL_TOKENS: &str = "special_tokens_map.json";
/// Ids of tokens beyond the vocabulary, as earlier versions wrote them.
const ADDED_TOKENS: &str = "added_tokens.json";

/// The roles that transformers knows.
const ROLES: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// Lists of tokens without a role, by their older and their newer name.
const MORE_SPECIAL: [&str; 2] = ["additional_special_tokens", "extra_special_tokens"];

/// The files beside `tokenizer.json`; empty where one is missing.
#[derive(Debug)]
pub(super) struct TokenizerFiles {
    folder: PathBuf,
    config: Map<String, Value>,
    special_tokens: Map<String, Value>,
    added_tokens: Map<String, Value>,
}

impl TokenizerFiles {
    pub(super) fn read(folder: &Path) -> Result<Self, ModelError> {
        let read = |name: &str| {
            let path = folder.join(name);
            if path.is_file() { read_json(&path) } else { Ok(Map::new()) }
        };
        Ok(Self {
            folder: folder.to_path_buf(),
            config: read(CONFIG)?,
            special_tokens: read(SPECIAL_TOKENS)?,
            added_tokens: read(ADDED_TOKENS)?,
        })
    }

    /// A key of `tokenizer_config.json`. `None` if it is absent or null.
    pub(super) fn config(&self, key: &str) -> Option<&Value> {
        self.config.get(key).filter(|value| !value.is_null())
    }

    /// The token with a role, and the file and key that name it.
    pub(super) fn role(&self, key: &str) -> Option<(&Value, String)> {
        self.by_precedence().into_iter().find_map(|(file, keys)| {
            let value = keys.get(key).filter(|value| token_text(value).is_some())?;
            Some((value, format!("{file}: {key}")))
        })
    }

    /// The files that name roles of tokens. As in transformers, `special_tokens_map.json` comes first where
    /// `tokenizer_config.json` is of a version that lists no added tokens.
    fn by_precedence(&self) -> [(&'static str, &Map<String, Value>); 2] {
        let (config, map) = ((CONFIG, &self.config), (SPECIAL_TOKENS, &self.special_tokens));
        if self.lists_added_tokens() { [config, map] } else { [map, config] }
    }

    fn lists_added_tokens(&self) -> bool {
        self.config.contains_key("added_tokens_decoder")
    }

    /// The tokens that transformers makes special: those with roles, and lists of more.
    fn special(&self) -> Vec<&Value> {
        let used = self.by_precedence();
        // Beside a list of added tokens, special_tokens_map.json is not read.
        let used = if self.lists_added_tokens() { &used[..1] } else { &used[..] };
        let first = |key: &str| used.iter().find_map(|(_, keys)| keys.get(key)).filter(|value| !value.is_null());
        let mut special: Vec<&Value> = ROLES.iter().filter_map(|role| first(role)).collect();
        for value in MORE_SPECIAL.iter().filter_map(|key| first(key)) {
            match value {
                Value::Array(tokens) => special.extend(tokens),
                Value::Object(tokens) => special.extend(tokens.values()),
                _ => {}
            }
        }
        let is_own_role = |key: &str| key.ends_with("_token") && !ROLES.contains(&key);
        let own = self.config.iter().filter(|(key, value)| is_own_role(key) && value.is_string());
        special.extend(own.map(|(_, value)| value));
        special
    }

    /// Applies the files to a tokenizer. Returns a description of what they change; empty if they agree with it.
    pub(super) fn apply(&self, tokenizer: &mut Tokenizer) -> Result<String, ModelError> {
        let mut changes = String::new();
        let added = self.tokens_to_add(tokenizer)?;
        for token in &added {
            // Writing to a `String` cannot fail.
            let _ = writeln!(changes, "{token:?}");
        }
        let names: Vec<String> = added.iter().map(|token| token.content.clone()).collect();
        let is_new: Vec<bool> = names.iter().map(|name| tokenizer.token_to_id(name).is_none()).collect();
        tokenizer.add_tokens(added).map_err(|error| self.problem(CONFIG, error.to_string()))?;
        self.tell_of_added(tokenizer, &names, &is_new)?;
        if self.config("split_special_tokens").and_then(Value::as_bool) == Some(true) {
            tracing::info!(
                "{CONFIG}: split_special_tokens: special tokens in a text are read as text, as transformers does"
            );
            tokenizer.set_encode_special_tokens(true);
            changes.push_str("split_special_tokens\n");
        }
        if let Some(wanted) = self.config("add_prefix_space").and_then(Value::as_bool)
            && self.set_prefix_space(tokenizer, wanted)?
        {
            tracing::info!("{CONFIG}: add_prefix_space {wanted} is applied; tokenizer.json says otherwise");
            let _ = writeln!(changes, "add_prefix_space {wanted}");
        }
        self.tell_of_legacy(tokenizer);
        Ok(changes)
    }

    /// Tells where transformers 5 reads texts otherwise: those that begin with a blank or have special tokens within. For the
    /// classes of Llama it builds the pipeline anew, by `legacy`; transformers 4, which most models and SAEs were trained
    /// with, takes `tokenizer.json` as it is.
    fn tell_of_legacy(&self, tokenizer: &Tokenizer) {
        let class = self.config("tokenizer_class").and_then(Value::as_str).unwrap_or_default();
        let (prepends, _) = without_prepend(tokenizer.get_normalizer().cloned());
        if !prepends || !class.starts_with("LlamaTokenizer") || !matches!(tokenizer.get_model(), ModelWrapper::BPE(_)) {
            return;
        }
        let legacy = self.config("legacy").and_then(Value::as_bool).unwrap_or(false);
        let after = if legacy { "" } else { ", and none after special tokens" };
        tracing::info!(
            "{CONFIG}: tokenizer_class {class}, legacy {legacy}: tokenizer.json is taken as it is, as transformers 4 does: it puts a blank before a text and after each special token within. transformers 5 puts none where there is one already{after}"
        );
    }

    /// The tokens that transformers adds, or gives other properties, in its order.
    fn tokens_to_add(&self, tokenizer: &Tokenizer) -> Result<Vec<AddedToken>, ModelError> {
        let present: BTreeMap<String, AddedToken> =
            tokenizer.get_added_tokens_decoder().into_values().map(|token| (token.content.clone(), token)).collect();
        // Of tokens in both, tokenizer.json says more than added_tokens.json, and less than tokenizer_config.json.
        let differs = |token: &AddedToken| match present.get(&token.content) {
            Some(known) => self.lists_added_tokens() && known != token,
            None => true,
        };
        let mut added: Vec<AddedToken> = self.listed()?.into_values().filter(differs).collect();
        if !self.lists_added_tokens() {
            self.check_normalized(&added, tokenizer)?;
        }
        let mut names: BTreeSet<String> =
            present.into_keys().chain(added.iter().map(|token| token.content.clone())).collect();
        for value in self.special() {
            let token = self.token(value, true)?;
            if names.insert(token.content.clone()) {
                added.push(token);
            }
        }
        Ok(added)
    }

    /// Refuses tokens of `added_tokens.json` that the normalizer changes: transformers then finds them only where a text
    /// begins, or after another such token, which is what the model was hardly trained on.
    fn check_normalized(&self, added: &[AddedToken], tokenizer: &Tokenizer) -> Result<(), ModelError> {
        let Some(normalizer) = tokenizer.get_normalizer() else { return Ok(()) };
        for token in added.iter().filter(|token| token.normalized) {
            let mut text = NormalizedString::from(token.content.as_str());
            normalizer.normalize(&mut text).map_err(|error| self.problem(ADDED_TOKENS, error.to_string()))?;
            if text.get() != token.content {
                let problem = format!(
                    "expected tokens that tokenizer.json has too, got {:?}, which its normalizer changes to {:?}. Save the \
                     tokenizer again with transformers, with this token among the special ones",
                    token.content,
                    text.get()
                );
                return Err(self.problem(ADDED_TOKENS, problem));
            }
        }
        Ok(())
    }

    /// The tokens that a file lists by id: those of `tokenizer_config.json`, else those of `added_tokens.json`.
    fn listed(&self) -> Result<BTreeMap<u64, AddedToken>, ModelError> {
        let mut listed = BTreeMap::new();
        if let Some(tokens) = self.config.get("added_tokens_decoder") {
            let wrong = || self.problem(CONFIG, "added_tokens_decoder: expected tokens by their ids".to_owned());
            for (id, value) in tokens.as_object().ok_or_else(wrong)? {
                listed.insert(id.parse().map_err(|_| wrong())?, self.token(value, false)?);
            }
            return Ok(listed);
        }
        let special: BTreeSet<&str> = self.special().into_iter().filter_map(token_text).collect();
        for (text, id) in &self.added_tokens {
            let id = id.as_u64().ok_or_else(|| self.problem(ADDED_TOKENS, format!("expected an id for {text:?}")))?;
            listed.insert(id, AddedToken::from(text.clone(), special.contains(text.as_str())));
        }
        Ok(listed)
    }

    /// A token as written: its text, or an object with its properties. `has_role` makes it special.
    fn token(&self, value: &Value, has_role: bool) -> Result<AddedToken, ModelError> {
        let wrong =
            || self.problem(CONFIG, format!("expected a token as a text or an object with content, got {value}"));
        let text = token_text(value).ok_or_else(wrong)?;
        let flag = |key: &str| value.get(key).and_then(Value::as_bool);
        let special = has_role || flag("special").unwrap_or(false);
        let mut token = AddedToken::from(text, special);
        if let Some(normalized) = flag("normalized") {
            token = token.normalized(normalized);
        }
        Ok(token
            .lstrip(flag("lstrip").unwrap_or(false))
            .rstrip(flag("rstrip").unwrap_or(false))
            .single_word(flag("single_word").unwrap_or(false)))
    }

    /// Tells of tokens that the vocabulary did not have, of those that have other properties, and of ids that differ
    /// from those in the files.
    fn tell_of_added(&self, tokenizer: &Tokenizer, names: &[String], is_new: &[bool]) -> Result<(), ModelError> {
        const SHOWN: usize = 4;
        let shown = |texts: Vec<String>| {
            let more = if texts.len() > SHOWN { format!(" and {} more", texts.len() - SHOWN) } else { String::new() };
            format!("{}{more}", texts[..texts.len().min(SHOWN)].join(", "))
        };
        let with_id = |text: &String| format!("{text:?} as {}", tokenizer.token_to_id(text).unwrap_or_default());
        let folder = self.folder.display();
        for (what, new) in [("tokens beyond", true), ("special tokens and properties of tokens other than", false)] {
            let texts: Vec<String> =
                names.iter().zip(is_new).filter(|(_, is_new)| **is_new == new).map(|(name, _)| with_id(name)).collect();
            if !texts.is_empty() {
                tracing::info!(
                    "{folder}: {what} those of tokenizer.json, by the files beside it, as in transformers: {}",
                    shown(texts)
                );
            }
        }
        let other = self.listed()?.into_iter().filter_map(|(id, token)| {
            let found = tokenizer.token_to_id(&token.content)?;
            (u64::from(found) != id).then(|| format!("{:?} {id}, not {found}", token.content))
        });
        let other: Vec<String> = other.collect();
        if !other.is_empty() {
            tracing::warn!(
                "{folder}: the files beside tokenizer.json give tokens other ids than it does; its ids are taken, as in transformers: {}",
                shown(other)
            );
        }
        Ok(())
    }

    /// Sets whether a text begins with a blank in front of its first word. Returns whether that is a change.
    ///
    /// transformers does this for tokenizers of bytes, and for those of Llama, whose pipeline it builds anew.
    fn set_prefix_space(&self, tokenizer: &mut Tokenizer, wanted: bool) -> Result<bool, ModelError> {
        let class = self.config("tokenizer_class").and_then(Value::as_str).unwrap_or_default();
        let mut before = tokenizer.get_pre_tokenizer().cloned();
        if let Some(bytes) = before.as_mut().and_then(byte_level) {
            let is_change = std::mem::replace(bytes, wanted) != wanted;
            if is_change && GENERIC.contains(&class) {
                tracing::warn!(
                    "{CONFIG}: add_prefix_space {wanted} is not applied, as in transformers: tokenizer.json says otherwise"
                );
                return Ok(false);
            }
            tokenizer.with_pre_tokenizer(before);
            return Ok(is_change);
        }
        let (prepends, without) = without_prepend(tokenizer.get_normalizer().cloned());
        let metaspace = before.as_mut().and_then(metaspace);
        let prepends_now = prepends || metaspace.as_ref().is_some_and(|scheme| **scheme != PrependScheme::Never);
        if prepends_now == wanted || !matches!(tokenizer.get_model(), ModelWrapper::BPE(_) | ModelWrapper::Unigram(_)) {
            return Ok(false);
        }
        if !class.contains("Llama") {
            tracing::warn!("{CONFIG}: add_prefix_space {wanted} is not applied: tokenizer.json says otherwise");
            return Ok(false);
        }
        if wanted {
            let problem = "add_prefix_space is true, but tokenizer.json prepends nothing. Save both again with \
                           transformers, from the checkpoint that the model was made from";
            return Err(self.problem(CONFIG, problem.to_owned()));
        }
        if let Some(scheme) = metaspace {
            *scheme = PrependScheme::Never;
            tokenizer.with_pre_tokenizer(before);
        }
        if prepends {
            tokenizer.with_normalizer(without).map_err(|error| self.problem("tokenizer.json", error.to_string()))?;
        }
        Ok(true)
    }

    fn problem(&self, file: &str, problem: String) -> ModelError {
        ModelError::Tokenizer { path: self.folder.join(file), problem }
    }
}

/// Classes whose pipeline transformers takes from `tokenizer.json` as it is.
const GENERIC: [&str; 3] = ["", "PreTrainedTokenizerFast", "TokenizersBackend"];

/// Whether the pre-tokenizer of bytes prepends a blank, if there is one.
fn byte_level(pre_tokenizer: &mut PreTokenizerWrapper) -> Option<&mut bool> {
    match pre_tokenizer {
        PreTokenizerWrapper::ByteLevel(bytes) => Some(&mut bytes.add_prefix_space),
        PreTokenizerWrapper::Sequence(parts) => parts.as_mut().iter_mut().find_map(byte_level),
        _ => None,
    }
}

/// Where SentencePiece's blank is prepended by the pre-tokenizer, if it is one that does.
fn metaspace(pre_tokenizer: &mut PreTokenizerWrapper) -> Option<&mut PrependScheme> {
    match pre_tokenizer {
        PreTokenizerWrapper::Metaspace(metaspace) => Some(&mut metaspace.prepend_scheme),
        PreTokenizerWrapper::Sequence(parts) => parts.as_mut().iter_mut().find_map(metaspace),
        _ => None,
    }
}

/// Returns whether a normalizer prepends a text, and the normalizer without that.
fn without_prepend(normalizer: Option<NormalizerWrapper>) -> (bool, Option<NormalizerWrapper>) {
    match normalizer {
        Some(NormalizerWrapper::Prepend(_)) => (true, None),
        Some(NormalizerWrapper::Sequence(parts)) => {
            let parts: Vec<NormalizerWrapper> = parts.into_iter().collect();
            let count = parts.len();
            let kept: Vec<NormalizerWrapper> =
                parts.into_iter().filter(|part| !matches!(part, NormalizerWrapper::Prepend(_))).collect();
            (kept.len() < count, Some(NormalizerWrapper::Sequence(Normalizers::new(kept))))
        }
        other => (false, other),
    }
}

/// The text of a token, given as a string or as an object with `content`.
pub(super) fn token_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}

/// Says which other tokenizer a folder without `tokenizer.json` has, and how to convert it.
pub(super) fn other_tokenizer(folder: &Path) -> Option<String> {
    let known = [
        (&["tokenizer.model"][..], "a SentencePiece model"),
        (&["vocab.json", "merges.txt"], "the files of a slow tokenizer"),
        (&["tekken.json"], "a tokenizer of mistral-common"),
        (&["vocab.txt"], "the file of a slow tokenizer"),
    ];
    let (files, what) = known.into_iter().find(|(files, _)| files.iter().all(|file| folder.join(file).is_file()))?;
    let (files, place) = (files.join(" and "), folder.display());
    Some(format!(
        "expected tokenizer.json, got {files}, {what}, which transformers converts: python3 -c \"from transformers import \
         AutoTokenizer; AutoTokenizer.from_pretrained('{place}').save_pretrained('{place}')\". Many repositories have the \
         converted file too"
    ))
}
