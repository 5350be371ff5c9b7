//! A model and its tokenizer, read from a Hugging Face folder, as a harvest records them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use hayloft_checkpoint::Checkpoint;
use hayloft_runtime::Dtype;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{Result, StoreError};
use crate::format::records::{ModelRecord, TokenizerRecord, UNKNOWN};
use crate::fs::hash::blake3_hex;

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";

/// Limit on the size of a JSON file. The largest tokenizers take about 30 MB.
const MAX_JSON_BYTES: u64 = 1 << 28;

/// A model and its tokenizer, as a harvest records them.
#[derive(Clone, Debug)]
pub struct ModelAndTokenizer {
    /// The model.
    pub model: ModelRecord,
    /// Its tokenizer.
    pub tokenizer: TokenizerRecord,
}

impl ModelAndTokenizer {
    /// Reads a checkpoint folder. Hashes all weights that are not known from an earlier run.
    ///
    /// # Errors
    /// [`StoreError::Checkpoint`] if the model is of no family that is known, or if a file is missing or damaged.
    pub fn read(folder: &Path, precision: Dtype) -> Result<Self> {
        let checkpoint = Checkpoint::open(folder).map_err(StoreError::Checkpoint)?;
        tracing::info!(folder = %folder.display(), "identifying the model");
        let identity = checkpoint.identity(&|_| {}).map_err(StoreError::Checkpoint)?;
        let spec = checkpoint.spec();
        let model = ModelRecord {
            model_type: spec.model_type.clone(),
            identity: Some(identity),
            precision,
            vocab_size: spec.vocab_size,
            d_model: spec.d_model,
            n_blocks: spec.n_blocks,
            context_length: spec.context_length,
        };
        Ok(Self { model, tokenizer: read_tokenizer(folder)? })
    }

    /// A model of which only the width of its residual stream is known.
    pub fn unknown(d_model: usize, precision: Dtype) -> Self {
        Self {
            model: ModelRecord {
                model_type: UNKNOWN.to_owned(),
                identity: None,
                precision,
                vocab_size: 0,
                d_model,
                n_blocks: 0,
                context_length: 0,
            },
            tokenizer: TokenizerRecord::unknown(),
        }
    }
}

/// Reads the tokenizer in a folder, or returns an unknown one if there is no `tokenizer.json`.
pub fn read_tokenizer(folder: &Path) -> Result<TokenizerRecord> {
    let path = folder.join(TOKENIZER);
    if !path.exists() {
        return Ok(TokenizerRecord::unknown());
    }
    let bytes = read_bounded(&path)?;
    let ids = vocabulary(&parse(&path, &bytes)?);
    let mut record =
        TokenizerRecord { blake3: blake3_hex(&bytes), vocab_size: ids.len(), ..TokenizerRecord::unknown() };
    for file in ["tokenizer_config.json", "special_tokens_map.json"] {
        // A string, or an object with a `content` key.
        let token = key(folder, file, "bos_token")?;
        let text = token.as_ref().and_then(|token| token.as_str().or_else(|| token.get("content")?.as_str()));
        if let Some((text, id)) = text.and_then(|text| Some((text, *ids.get(text)?))) {
            (record.bos_id, record.bos_text) = (id, text.to_owned());
            return Ok(record);
        }
    }
    for file in ["generation_config.json", CONFIG] {
        let id = key(folder, file, "bos_token_id")?.as_ref().and_then(Value::as_u64);
        if let Some((text, id)) = id.and_then(|id| ids.iter().find(|(_, known)| u64::from(**known) == id)) {
            (record.bos_id, record.bos_text) = (*id, text.clone());
            return Ok(record);
        }
    }
    Ok(record)
}

/// The id of each token: the model's vocabulary (an object, or a list of pairs) and the added tokens.
fn vocabulary(tokenizer: &Value) -> BTreeMap<String, u32> {
    let mut ids = BTreeMap::new();
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match tokenizer.pointer("/model/vocab") {
        Some(Value::Object(vocabulary)) => {
            ids.extend(vocabulary.iter().filter_map(|(text, value)| Some((text.clone(), id(value)?))));
        }
        Some(Value::Array(pieces)) => {
            let texts = pieces.iter().map(|piece| piece.get(0).and_then(Value::as_str));
            ids.extend((0..).zip(texts).filter_map(|(id, text)| Some((text?.to_owned(), id))));
        }
        _ => {}
    }
    for token in tokenizer.get("added_tokens").and_then(Value::as_array).into_iter().flatten() {
        if let (Some(text), Some(id)) = (token.get("content").and_then(Value::as_str), token.get("id").and_then(id)) {
            ids.insert(text.to_owned(), id);
        }
    }
    ids
}

/// A key of a JSON file in `folder`. `None` if the file or the key is missing or the value is null.
fn key(folder: &Path, file: &str, key: &str) -> Result<Option<Value>> {
    let path = folder.join(file);
    if !path.is_file() {
        return Ok(None);
    }
    let mut keys: Map<String, Value> = parse(&path, &read_bounded(&path)?)?;
    Ok(keys.remove(key).filter(|value| !value.is_null()))
}

/// Reads an untrusted file, up to a size limit.
pub(super) fn read_bounded(path: &Path) -> Result<Vec<u8>> {
    let failed = |source| StoreError::io(path, "read", source);
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(MAX_JSON_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_JSON_BYTES {
        return Err(StoreError::damaged(path, format!("at most {MAX_JSON_BYTES} bytes"), "more"));
    }
    Ok(bytes)
}

/// Parses the JSON file at `path` from its bytes.
pub(super) fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| StoreError::Malformed {
        path: path.to_owned(),
        expected: "JSON with the keys that are read from it".to_owned(),
        got: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn fixture() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tiny-llama")
    }

    #[test]
    fn a_checkpoint_is_known_by_its_identity_and_its_tokenizer_by_its_bos() {
        let ModelAndTokenizer { model, tokenizer } = ModelAndTokenizer::read(&fixture(), Dtype::F32).unwrap();
        assert_eq!(model.model_type, "llama");
        let config: Value = serde_json::from_slice(&std::fs::read(fixture().join(CONFIG)).unwrap()).unwrap();
        for (key, got) in [
            ("hidden_size", model.d_model),
            ("num_hidden_layers", model.n_blocks),
            ("vocab_size", model.vocab_size),
            ("max_position_embeddings", model.context_length),
        ] {
            assert_eq!(config[key], got, "{key}");
        }
        let identity = model.identity.unwrap();
        assert_eq!((identity.facts["dtype"].as_str(), identity.facts["rope_theta"].as_str()), ("f32", "10000"));
        assert_eq!((tokenizer.bos_id, tokenizer.bos_text.as_str()), (0, "<s>"));
        assert_eq!(tokenizer.vocab_size, 312);
    }

    #[test]
    fn vocabularies_are_objects_or_lists() {
        let unigram = serde_json::json!({"model": {"vocab": [["<s>", 0.0], ["a", -1.5]]}, "added_tokens": [
            {"id": 0, "content": "<s>"}, {"id": 2, "content": "<pad>"},
        ]});
        let ids = vocabulary(&unigram);
        assert_eq!((ids.len(), ids["<s>"], ids["a"], ids["<pad>"]), (3, 0, 1, 2));
    }
}
