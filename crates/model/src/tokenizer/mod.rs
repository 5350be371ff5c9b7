//! Tokenization with the checkpoint's files.

mod files;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hayloft_checkpoint::{CheckpointError, read_json};
use hayloft_runtime::{other_file, without_mark};
use serde::de::IgnoredAny;
use serde_json::Value;
use tokenizers::PostProcessorWrapper;

use self::files::{TokenizerFiles, other_tokenizer, token_text};
use crate::error::ModelError;

const TOKENIZER: &str = "tokenizer.json";

/// A special token and the source of its role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialToken {
    /// Its id.
    pub id: u32,
    /// Its text.
    pub text: String,
    /// The file and key that named it.
    pub source: String,
}

/// The tokens of a text and their end offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedText {
    /// The tokens' ids.
    pub ids: Vec<u32>,
    /// For each token, the byte offset of its end in the text. A token that is part of a multi-byte character ends where the
    /// character does.
    pub ends: Vec<usize>,
}

/// A checkpoint's tokenizer.
#[derive(Debug)]
pub struct Tokenizer {
    folder: PathBuf,
    inner: tokenizers::Tokenizer,
    files: TokenizerFiles,
    blake3: String,
}

impl Tokenizer {
    /// Reads `tokenizer.json` of a checkpoint folder. Its truncation and padding settings are switched off.
    ///
    /// `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json` are applied as transformers applies them:
    /// tokens that they add, properties of tokens, `add_prefix_space` and `split_special_tokens`. What they change is
    /// logged.
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join(TOKENIZER);
        if let (false, Some(problem)) = (path.exists(), other_tokenizer(folder)) {
            return Err(ModelError::Tokenizer { path: folder.to_path_buf(), problem });
        }
        let bytes = std::fs::read(&path).map_err(|source| CheckpointError::io(&path, source))?;
        let problem = |error: tokenizers::Error| {
            let is_json = serde_json::from_slice::<IgnoredAny>(&bytes).is_ok();
            let got = match other_file(&bytes) {
                Some(what) => format!("got {what}"),
                None if is_json => format!(
                    "got other JSON: {error}. Is it from a newer version of that library? Save it again with an older one"
                ),
                None => format!("got an error: {error}. Copy or download it again"),
            };
            let problem = format!("expected a tokenizer of the tokenizers library, {got}");
            ModelError::Tokenizer { path: path.clone(), problem }
        };
        let mut inner = tokenizers::Tokenizer::from_bytes(without_mark(&bytes)).map_err(problem)?;
        inner.with_padding(None).with_truncation(None).map_err(problem)?;
        // A post-processor adds special tokens, which are never requested here, and moves the offsets of tokens that begin
        // or end with a space.
        inner.with_post_processor(None::<PostProcessorWrapper>);
        let files = TokenizerFiles::read(folder)?;
        let changes = files.apply(&mut inner)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&bytes).update(changes.as_bytes());
        Ok(Self { folder: folder.to_path_buf(), inner, files, blake3: hasher.finalize().to_hex().to_string() })
    }

    /// BLAKE3 of `tokenizer.json` and of what the files beside it change, hexadecimal. If they change nothing, it is that of
    /// the file.
    pub fn blake3(&self) -> &str {
        &self.blake3
    }

    /// Number of tokens, added ones included.
    pub fn vocabulary_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Refuses token ids that exceed the model's embedding. A tokenizer may have such tokens if no text uses them, and the
    /// model may have more rows than the tokenizer has tokens: they are padding.
    pub fn check_ids(&self, ids: &[u32], vocabulary: usize) -> Result<(), ModelError> {
        match ids.iter().find(|id| **id as usize >= vocabulary) {
            None => Ok(()),
            Some(id) => Err(ModelError::Vocabulary {
                path: self.folder.join(TOKENIZER),
                token: self.vocabulary_text(*id),
                id: *id,
                vocabulary,
            }),
        }
    }

    /// Tokenizes texts, on all cores. Adds no special tokens; those spelled out in a text are recognised.
    pub fn encode_batch(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>, ModelError> {
        let encodings = self.inner.encode_batch_fast(texts.to_vec(), false).map_err(|error| self.problem(&error))?;
        Ok(encodings.into_iter().map(|encoding| encoding.get_ids().to_vec()).collect())
    }

    /// Tokenizes a text, with end offsets. Adds no special tokens; those spelled out in the text are recognised.
    pub fn encode_with_ends(&self, text: &str) -> Result<EncodedText, ModelError> {
        let encoding = self.inner.encode(text, false).map_err(|error| self.problem(&error))?;
        let ends = encoding.get_offsets().iter().map(|(_, end)| *end).collect();
        Ok(EncodedText { ids: encoding.get_ids().to_vec(), ends })
    }

    /// Decodes tokens to text, without special tokens.
    pub fn decode(&self, ids: &[u32]) -> Result<String, ModelError> {
        self.inner.decode(ids, true).map_err(|error| self.problem(&error))
    }

    /// The spelling of a token in the vocabulary: `▁hay`, `Ġhay`, `<0x0A>`. Empty for an unknown id.
    pub fn vocabulary_text(&self, id: u32) -> String {
        self.inner.id_to_token(id).unwrap_or_default()
    }

    /// Whether this is the text of a special token.
    pub fn is_special(&self, text: &str) -> bool {
        self.inner.get_added_vocabulary().is_special_token(text)
    }

    /// The token with this text.
    pub fn token(&self, text: &str, source: &str) -> Result<SpecialToken, ModelError> {
        let id = self.inner.token_to_id(text).ok_or_else(|| ModelError::Tokenizer {
            path: self.folder.join(TOKENIZER),
            problem: format!("{source} names the token {text:?}, which this vocabulary does not have"),
        })?;
        Ok(SpecialToken { id, text: text.to_owned(), source: source.to_owned() })
    }

    /// The BOS token: from the tokenizer's files, else from those of the model, as for Qwen.
    pub fn bos(&self) -> Result<SpecialToken, ModelError> {
        if let Some((text, source)) = self.named("bos_token") {
            return self.token(&text, &source);
        }
        for file in ["generation_config.json", "config.json"] {
            if let Some(id) = self.key(file, "bos_token_id")?.as_ref().and_then(Value::as_u64) {
                let named = u32::try_from(id).ok().and_then(|id| Some((id, self.inner.id_to_token(id)?)));
                let (id, text) = named.ok_or_else(|| ModelError::Tokenizer {
                    path: self.folder.join(file),
                    problem: format!("bos_token_id is {id}, which the vocabulary of {TOKENIZER} does not have"),
                })?;
                return Ok(SpecialToken { id, text, source: format!("{file}: bos_token_id") });
            }
        }
        Err(ModelError::Tokenizer {
            path: self.folder.clone(),
            problem: "no file names a token that begins a sequence: expected bos_token in tokenizer_config.json or \
                      special_tokens_map.json, or bos_token_id in generation_config.json or config.json. Name one in the \
                      data manifest, for example bos = \"<|endoftext|>\""
                .to_owned(),
        })
    }

    /// Whether `tokenizer_config.json` asks for texts to begin with BOS (`add_bos_token`). `None` if not given.
    pub fn adds_bos(&self) -> Option<bool> {
        self.files.config("add_bos_token").and_then(Value::as_bool)
    }

    /// Whether `tokenizer_config.json` asks for texts to end with EOS (`add_eos_token`). `None` if not given.
    pub fn adds_eos(&self) -> Option<bool> {
        self.files.config("add_eos_token").and_then(Value::as_bool)
    }

    /// The tokens that end a generation, without duplicates: `eos_token` of the tokenizer's files and `eos_token_id`, one or
    /// several, of `generation_config.json`, else of `config.json`. Empty if no file names one.
    pub fn eos(&self) -> Result<Vec<SpecialToken>, ModelError> {
        let mut tokens: Vec<SpecialToken> = Vec::new();
        if let Some((text, source)) = self.named("eos_token") {
            tokens.push(self.token(&text, &source)?);
        }
        let (file, named) = match self.key("generation_config.json", "eos_token_id")? {
            Some(named) => ("generation_config.json", Some(named)),
            None => ("config.json", self.key("config.json", "eos_token_id")?),
        };
        let ids = match named {
            Some(Value::Array(ids)) => ids,
            other => other.into_iter().collect(),
        };
        for id in ids.iter().filter_map(Value::as_u64).filter_map(|id| u32::try_from(id).ok()) {
            // These may include padding of the model; a token that the tokenizer does not know occurs in no text.
            if let Some(text) = self.inner.id_to_token(id) {
                tokens.push(SpecialToken { id, text, source: format!("{file}: eos_token_id") });
            }
        }
        let mut seen = BTreeSet::new();
        tokens.retain(|token| seen.insert(token.id));
        Ok(tokens)
    }

    /// The tokens that structure a text, without duplicates: those that the tokenizer's files name for beginning, end,
    /// padding and separation. Tokens of a chat template are not included, as in SAELens.
    pub fn structural_tokens(&self) -> Result<Vec<SpecialToken>, ModelError> {
        let mut tokens: Vec<SpecialToken> = Vec::new();
        for key in ["bos_token", "eos_token", "pad_token", "sep_token"] {
            let Some((text, source)) = self.named(key) else { continue };
            // A token missing from the vocabulary occurs in no text.
            if let Some(id) = self.inner.token_to_id(&text)
                && tokens.iter().all(|token| token.id != id)
            {
                tokens.push(SpecialToken { id, text, source });
            }
        }
        Ok(tokens)
    }

    /// The text of a token with this role and its source, from the tokenizer's files.
    fn named(&self, key: &str) -> Option<(String, String)> {
        let (value, source) = self.files.role(key)?;
        Some((token_text(value)?.to_owned(), source))
    }

    /// A key of a JSON file in the folder. `None` if the file or the key is absent or null.
    fn key(&self, file: &str, key: &str) -> Result<Option<Value>, ModelError> {
        let path = self.folder.join(file);
        if !path.is_file() {
            return Ok(None);
        }
        let mut keys: serde_json::Map<String, Value> = read_json(&path)?;
        Ok(keys.remove(key).filter(|value| !value.is_null()))
    }

    fn problem(&self, error: &tokenizers::Error) -> ModelError {
        ModelError::Tokenizer { path: self.folder.join(TOKENIZER), problem: error.to_string() }
    }
}
