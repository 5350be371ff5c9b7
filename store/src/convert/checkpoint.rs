//! The identity of a model, read from its Hugging Face folder, as a harvest records it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use hayloft_runtime::Dtype;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{Result, StoreError};
use crate::format::records::{FileRecord, ModelRecord, TokenizerRecord};
use crate::fs::folder::plain_path;
use crate::fs::hash::blake3_hex;

const CONFIG: &str = "config.json";
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const TOKENIZER: &str = "tokenizer.json";

/// Limit on the size of a JSON file. The largest tokenizers take about 30 MB.
const MAX_JSON_BYTES: u64 = 1 << 28;

/// The value recorded where a field is unknown.
pub(super) const UNKNOWN: &str = "unknown";

/// The keys of `config.json` that an import needs, with the names that model families use.
#[derive(Deserialize)]
struct Config {
    model_type: String,
    vocab_size: usize,
    #[serde(alias = "n_embd")]
    hidden_size: usize,
    #[serde(alias = "n_layer", alias = "num_layers")]
    num_hidden_layers: usize,
    #[serde(alias = "n_positions")]
    max_position_embeddings: usize,
}

/// Gemma 3 beside an image encoder: its text model is described in `text_config`.
#[derive(Deserialize)]
struct Multimodal {
    text_config: TextConfig,
}

/// The keys of a `text_config`. transformers leaves out those with the values of its `Gemma3TextConfig`.
#[derive(Deserialize)]
#[serde(default)]
struct TextConfig {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    max_position_embeddings: usize,
}

impl Default for TextConfig {
    fn default() -> Self {
        Self { vocab_size: 262_208, hidden_size: 2304, num_hidden_layers: 26, max_position_embeddings: 131_072 }
    }
}

impl Config {
    fn read(path: &Path, bytes: &[u8]) -> Result<Self> {
        let keys: Map<String, Value> = parse(path, bytes)?;
        if !keys.contains_key("text_config") {
            return parse(path, bytes);
        }
        let TextConfig { vocab_size, hidden_size, num_hidden_layers, max_position_embeddings } =
            parse::<Multimodal>(path, bytes)?.text_config;
        let model_type = keys.get("model_type").and_then(Value::as_str).unwrap_or(UNKNOWN).to_owned();
        Ok(Self { model_type, vocab_size, hidden_size, num_hidden_layers, max_position_embeddings })
    }
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// A model and its tokenizer.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) model: ModelRecord,
    pub(super) tokenizer: TokenizerRecord,
}

impl Identity {
    /// Reads a checkpoint folder. Hashes all weights.
    pub(super) fn read(folder: &Path, precision: Dtype) -> Result<Self> {
        let path = folder.join(CONFIG);
        let config_bytes = read_bounded(&path)?;
        let config = Config::read(&path, &config_bytes)?;
        let model = ModelRecord {
            model_type: config.model_type,
            config_blake3: blake3_hex(&config_bytes),
            weights: weight_files(folder)?.iter().map(|name| hashed(folder, name)).collect::<Result<_>>()?,
            precision,
            vocab_size: config.vocab_size,
            d_model: config.hidden_size,
            n_blocks: config.num_hidden_layers,
            context_length: config.max_position_embeddings,
        };
        Ok(Self { model, tokenizer: tokenizer(folder)? })
    }

    /// The identity of an unknown model, except for the width of its residual stream.
    pub(super) fn unknown(d_model: usize, precision: Dtype) -> Self {
        Self {
            model: ModelRecord {
                model_type: UNKNOWN.to_owned(),
                config_blake3: String::new(),
                weights: Vec::new(),
                precision,
                vocab_size: 0,
                d_model,
                n_blocks: 0,
                context_length: 0,
            },
            tokenizer: unknown_tokenizer(),
        }
    }
}

fn unknown_tokenizer() -> TokenizerRecord {
    TokenizerRecord { blake3: String::new(), vocab_size: 0, bos_id: u32::MAX, bos_text: UNKNOWN.to_owned() }
}

/// The record of a file in `folder`. Hashes the file in one pass.
fn hashed(folder: &Path, name: &str) -> Result<FileRecord> {
    let path = folder.join(name);
    let mut hasher = blake3::Hasher::new();
    hasher.update_mmap_rayon(&path).map_err(|source| StoreError::io(&path, "read", source))?;
    Ok(FileRecord { path: name.to_owned(), bytes: hasher.count(), blake3: hasher.finalize().to_hex().to_string() })
}

/// The names of the weight files, sorted.
fn weight_files(folder: &Path) -> Result<Vec<String>> {
    if folder.join(SINGLE).is_file() {
        return Ok(vec![SINGLE.to_owned()]);
    }
    let path = folder.join(INDEX);
    let index: Index = parse(&path, &read_bounded(&path)?)?;
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    // A hostile index must not lead out of the checkpoint folder.
    match names.iter().find(|name| name.contains('/') || plain_path(name).is_none()) {
        Some(outside) => Err(StoreError::LeavesFolder { path, named: outside.clone() }),
        None => Ok(names.into_iter().collect()),
    }
}

/// The tokenizer in `folder`, or an unknown one if there is no `tokenizer.json`.
fn tokenizer(folder: &Path) -> Result<TokenizerRecord> {
    let path = folder.join(TOKENIZER);
    if !path.exists() {
        return Ok(unknown_tokenizer());
    }
    let bytes = read_bounded(&path)?;
    let ids = vocabulary(&parse(&path, &bytes)?);
    let mut record = TokenizerRecord { blake3: blake3_hex(&bytes), vocab_size: ids.len(), ..unknown_tokenizer() };
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
    fn a_checkpoint_is_known_by_its_hashes_and_its_tokenizer_by_its_bos() {
        let Identity { model, tokenizer } = Identity::read(&fixture(), Dtype::F32).unwrap();
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
        let bytes = std::fs::read(fixture().join(SINGLE)).unwrap();
        let weights = FileRecord { path: SINGLE.to_owned(), bytes: bytes.len() as u64, blake3: blake3_hex(&bytes) };
        assert_eq!(model.weights, [weights]);
        assert_eq!((tokenizer.bos_id, tokenizer.bos_text.as_str()), (0, "<s>"));
        assert_eq!(tokenizer.vocab_size, 312);
    }

    #[test]
    fn the_older_names_of_gpt2_are_understood() {
        let text = r#"{"model_type": "gpt2", "vocab_size": 9, "n_embd": 8, "n_layer": 7, "n_positions": 6}"#;
        let config: Config = serde_json::from_str(text).unwrap();
        assert_eq!((config.hidden_size, config.num_hidden_layers, config.max_position_embeddings), (8, 7, 6));
    }

    #[test]
    fn a_text_model_beside_an_image_encoder_is_understood() {
        let text = br#"{"model_type": "gemma3", "text_config": {"hidden_size": 8, "num_hidden_layers": 7}}"#;
        let config = Config::read(Path::new(CONFIG), text).unwrap();
        assert_eq!((config.model_type.as_str(), config.hidden_size, config.num_hidden_layers), ("gemma3", 8, 7));
        assert_eq!((config.vocab_size, config.max_position_embeddings), (262_208, 131_072));
    }

    #[test]
    fn an_index_that_leads_out_of_the_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(INDEX), r#"{"weight_map": {"a": "../secret"}}"#).unwrap();
        assert!(matches!(weight_files(folder.path()).unwrap_err(), StoreError::LeavesFolder { .. }));
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
