//! Reads a checkpoint's chat template and special tokens.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use hayloft_runtime::other_file;
use serde_json::{Map, Value};

use super::ChatError;

const TEMPLATE_FILE: &str = "chat_template.jinja";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const SPECIAL_TOKENS: &str = "special_tokens_map.json";

/// Templates are a few kilobytes, the longest known about 30. minijinja stores lines and columns in 16 bits, so the
/// limit is below that range.
const TEMPLATE_BYTES: u64 = 60_000;
/// `tokenizer_config.json` lists every added token; some models have thousands.
const CONFIG_BYTES: u64 = 64 << 20;

/// A template as stored in a checkpoint.
pub(super) struct TemplateSource {
    /// The file that holds the template.
    pub(super) path: PathBuf,
    /// The Jinja source.
    pub(super) text: String,
}

/// Returns the checkpoint's template: `chat_template.jinja`, else `chat_template` of `tokenizer_config.json`, which is
/// a text or a list of named templates with a `default`. The order is that of transformers.
pub(super) fn checkpoint_template(folder: &Path) -> Result<TemplateSource, ChatError> {
    let path = folder.join(TEMPLATE_FILE);
    if let Some(text) = read(&path, TEMPLATE_BYTES)? {
        let other = read_object(&folder.join(TOKENIZER_CONFIG))?.remove("chat_template");
        if other.as_ref().and_then(Value::as_str).is_some_and(|other| other != text) {
            let folder = folder.display();
            tracing::info!(
                "{folder}: {TEMPLATE_FILE} and chat_template of {TOKENIZER_CONFIG} differ: the former is taken, as in transformers"
            );
        }
        return Ok(TemplateSource { path, text });
    }
    let path = folder.join(TOKENIZER_CONFIG);
    let mut config = read_object(&path)?;
    let text = match config.remove("chat_template") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text),
        Some(Value::Array(named)) => named
            .into_iter()
            .find(|template| template.get("name").and_then(Value::as_str) == Some("default"))
            .and_then(|template| template.get("template")?.as_str().map(str::to_owned)),
        Some(_) => {
            let problem =
                "expected chat_template to be a text or a list of {name, template}, got neither. Correct it, or \
                           name a template in the data manifest"
                    .to_owned();
            return Err(ChatError::Json { path, problem });
        }
    };
    let text = text.ok_or_else(|| ChatError::NoTemplate { folder: folder.to_owned() })?;
    let bytes = text.len() as u64;
    if bytes > TEMPLATE_BYTES {
        return Err(ChatError::TooLarge { path, limit: TEMPLATE_BYTES, bytes });
    }
    Ok(TemplateSource { path, text })
}

/// Returns the checkpoint's special tokens as template variables: `bos_token`, `eos_token`, … → their texts.
pub(super) fn special_tokens(folder: &Path) -> Result<BTreeMap<String, String>, ChatError> {
    let mut tokens = BTreeMap::new();
    let (map, config) = (read_object(&folder.join(SPECIAL_TOKENS))?, read_object(&folder.join(TOKENIZER_CONFIG))?);
    // The later file takes precedence. As in transformers, that depends on the version of tokenizer_config.json.
    let files = if config.contains_key("added_tokens_decoder") { [map, config] } else { [config, map] };
    for keys in files {
        for (key, value) in keys {
            let text = value.as_str().or_else(|| value.get("content")?.as_str());
            if let Some(text) = text.filter(|_| key.ends_with("_token")) {
                tokens.insert(key, text.to_owned());
            }
        }
    }
    Ok(tokens)
}

/// Returns the fields of a JSON file; empty if the file does not exist.
fn read_object(path: &Path) -> Result<Map<String, Value>, ChatError> {
    let Some(text) = read(path, CONFIG_BYTES)? else { return Ok(Map::new()) };
    serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| ChatError::Json {
        path: path.to_owned(),
        problem: match other_file(text.as_bytes()) {
            Some(what) => format!("expected a JSON object, got {what}"),
            None => format!("expected a JSON object, got an error: {error}. Copy or download it again"),
        },
    })
}

/// Returns the text of a file of at most `limit` bytes; `None` if the file does not exist.
fn read(path: &Path, limit: u64) -> Result<Option<String>, ChatError> {
    if !path.exists() {
        return Ok(None);
    }
    let failed = |cause| ChatError::Io { path: path.to_owned(), cause };
    let metadata = path.metadata().map_err(failed)?;
    if !metadata.is_file() {
        // Opening a pipe without a writer blocks indefinitely.
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "expected a file, got something else")));
    }
    let file = File::open(path).map_err(failed)?;
    let bytes = metadata.len();
    if bytes > limit {
        return Err(ChatError::TooLarge { path: path.to_owned(), limit, bytes });
    }
    let mut text = String::new();
    file.take(limit).read_to_string(&mut text).map_err(failed)?;
    Ok(Some(text))
}
