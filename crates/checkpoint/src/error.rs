//! Errors of opening a checkpoint.

use std::path::{Path, PathBuf};

use hayloft_runtime::{other_file, without_mark};

/// An error of this crate. Every message names the file, what was expected, what was found and what to do.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// A file could not be read.
    #[error(
        "{path}: cannot be read: {cause}. A checkpoint folder holds config.json, model*.safetensors and tokenizer.json"
    )]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        cause: std::io::Error,
    },
    /// A path leads to something else than a checkpoint.
    #[error(
        "{path}: expected the folder of a checkpoint, with config.json, model*.safetensors and tokenizer.json, got {got}"
    )]
    NoCheckpoint {
        /// The path.
        path: PathBuf,
        /// What it leads to and what to do.
        got: String,
    },
    /// A folder has no weights in a supported format.
    #[error("{folder}: no weights: expected model.safetensors or model.safetensors.index.json, {found}")]
    NoWeights {
        /// The checkpoint folder.
        folder: PathBuf,
        /// What it has in their place and what to do.
        found: String,
    },
    /// A folder has shards, but not their index.
    #[error(
        "{folder}: {shard} is a part of a checkpoint, expected model.safetensors.index.json beside it, which says where each tensor is. Copy or download the index too"
    )]
    NoIndex {
        /// The checkpoint folder.
        folder: PathBuf,
        /// The first of the shards.
        shard: String,
    },
    /// A JSON file is invalid.
    #[error("{path}: {problem}")]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the key if known.
        problem: String,
    },
    /// `config.json` asks for something that this crate does not support.
    #[error("{path}: {key} is {got}, expected {expected}. {advice}")]
    Unsupported {
        /// Path of `config.json`.
        path: PathBuf,
        /// The key.
        key: String,
        /// The value found.
        got: String,
        /// The supported values.
        expected: String,
        /// What to do.
        advice: String,
    },
    /// The weights are quantised.
    #[error(
        "{path}: quantization_config: the weights are quantised by {method}, expected plain f32, bf16 or f16. Take the original checkpoint"
    )]
    Quantised {
        /// Path of `config.json`.
        path: PathBuf,
        /// The quantisation method.
        method: String,
    },
    /// The folder holds an adapter, with or without the weights of its base model.
    #[error(
        "{path}: an adapter of PEFT ({kind}) for {base}, {place}. Expected a whole checkpoint: merge the adapter into its base model (merge_and_unload and save_pretrained of PEFT) and give that folder, or move adapter_config.json and adapter_model.* away to take the base model as it is"
    )]
    Adapter {
        /// The adapter's file.
        path: PathBuf,
        /// Its `peft_type`.
        kind: String,
        /// Its `base_model_name_or_path`.
        base: String,
        /// Its location.
        place: &'static str,
    },
    /// A safetensors file is damaged, or not a safetensors file.
    #[error("{path}: not a whole safetensors file: {problem}")]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The checkpoint lacks a tensor that its configuration calls for.
    #[error(
        "{folder}: tensor {name} is missing: expected it with shape {shape:?}, got none. Is a file of the checkpoint absent, or does config.json belong to another model?"
    )]
    MissingTensor {
        /// The checkpoint folder.
        folder: PathBuf,
        /// The tensor's name.
        name: String,
        /// The expected shape.
        shape: Vec<usize>,
    },
    /// The checkpoint holds tensors that the configuration does not call for.
    #[error(
        "{path}: {count} tensor(s) that no layer takes, the first is {name}: expected only the tensors that config.json calls for. Is this another architecture, or a file of another model?"
    )]
    UntakenTensor {
        /// The file of the first such tensor.
        path: PathBuf,
        /// Its name.
        name: String,
        /// Number of such tensors.
        count: usize,
    },
    /// The shape of a tensor differs from that in the configuration.
    #[error("{path}: tensor {name} has shape {got:?}, expected {expected:?} by config.json")]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The shape found.
        got: Vec<usize>,
        /// The shape that the configuration implies.
        expected: Vec<usize>,
    },
    /// The element type of a tensor is not one of the three supported types.
    #[error("{path}: tensor {name} is stored as {got}, expected F32, BF16 or F16. Quantised checkpoints are not read")]
    TensorType {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The type found.
        got: String,
    },
}

impl CheckpointError {
    /// Wraps an I/O error with its path.
    pub fn io(path: &Path, cause: std::io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), cause }
    }
}

/// Reads and parses a JSON file. A byte-order mark is passed over.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, CheckpointError> {
    let bytes = std::fs::read(path).map_err(|source| CheckpointError::io(path, source))?;
    serde_json::from_slice(without_mark(&bytes)).map_err(|error| CheckpointError::Json {
        path: path.to_path_buf(),
        problem: match other_file(&bytes) {
            Some(what) => format!("expected JSON, got {what}"),
            None => format!("not the expected JSON: {error}"),
        },
    })
}
