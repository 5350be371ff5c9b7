//! Everything that can go wrong between a folder of files and a tensor.

use std::path::{Path, PathBuf};

/// An error of this crate. Every message names the file, what was expected, what was found and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file could not be read.
    #[error(
        "{path}: cannot be read: {cause}. A checkpoint folder holds config.json, model*.safetensors and tokenizer.json"
    )]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        cause: std::io::Error,
    },
    /// A folder has no weights in a form that is read.
    #[error(
        "{folder}: no weights: expected model.safetensors or model.safetensors.index.json, found neither. Pickled .bin weights are not read; convert them to safetensors"
    )]
    NoWeights {
        /// The checkpoint folder.
        folder: PathBuf,
    },
    /// A JSON file could not be understood.
    #[error("{path}: {problem}")]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the key where it is known.
        problem: String,
    },
    /// `config.json` asks for something that this crate does not compute.
    #[error("{path}: {key} is {got}, expected {expected}. {advice}")]
    Unsupported {
        /// The `config.json`.
        path: PathBuf,
        /// The key in it.
        key: String,
        /// The value found.
        got: String,
        /// The values that are supported.
        expected: String,
        /// What to do.
        advice: String,
    },
    /// The weights are quantised.
    #[error(
        "{path}: quantization_config: the weights are quantised by {method}, expected plain f32, bf16 or f16. Take the original checkpoint"
    )]
    Quantised {
        /// The `config.json`.
        path: PathBuf,
        /// The method that it names.
        method: String,
    },
    /// The folder holds an adapter, alone or beside the weights that it was trained on.
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
        /// Where it lies.
        place: &'static str,
    },
    /// A safetensors file is damaged or is not one.
    #[error("{path}: not a whole safetensors file: {problem}. Copy or download it again")]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The checkpoint has no tensor of a name that its configuration calls for.
    #[error(
        "{folder}: tensor {name} is missing: expected it with shape {shape:?}, got none. Is a file of the checkpoint absent, or does config.json belong to another model?"
    )]
    MissingTensor {
        /// The checkpoint folder.
        folder: PathBuf,
        /// The tensor's name.
        name: String,
        /// The shape it should have.
        shape: Vec<usize>,
    },
    /// The checkpoint holds tensors that the configuration has no place for.
    #[error(
        "{path}: {count} tensor(s) nobody took, the first is {name}: expected only the tensors that config.json calls for. Is this another architecture, or a file of another model?"
    )]
    UntakenTensor {
        /// The file that holds the first of them.
        path: PathBuf,
        /// Its name.
        name: String,
        /// How many there are.
        count: usize,
    },
    /// A tensor has another shape than the configuration says.
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
    /// A tensor's element type is not one of the three that models are stored in.
    #[error("{path}: tensor {name} is stored as {got}, expected F32, BF16 or F16. Quantised checkpoints are not read")]
    TensorType {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The type found.
        got: String,
    },
    /// The tokenizer could not be used.
    #[error("{path}: {problem}")]
    Tokenizer {
        /// The tokenizer's file or folder.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Tokenizer and model disagree about the vocabulary.
    #[error(
        "{path}: the tokenizer knows token {token:?} with id {id}, but the model's vocabulary ends at {vocabulary}. Expected tokenizer and model from one checkpoint"
    )]
    Vocabulary {
        /// The tokenizer's file.
        path: PathBuf,
        /// The token with the highest id.
        token: String,
        /// That id.
        id: u32,
        /// The number of rows in the model's embedding.
        vocabulary: usize,
    },
    /// The name of a site could not be understood.
    #[error(
        "site {name:?}: expected blocks.L.hook_resid_pre, hook_resid_mid, hook_resid_post, hook_attn_out, hook_mlp_out, attn.hook_z, mlp.hook_in or ln2.hook_normalized, for example blocks.16.hook_resid_pre"
    )]
    SiteName {
        /// What was given.
        name: String,
    },
    /// A site lies outside the model.
    #[error("site {site}: block {block} does not exist, the model has {n_blocks} blocks: expected 0 to {last}", last = n_blocks.saturating_sub(1))]
    SiteRange {
        /// The site.
        site: String,
        /// Its block.
        block: usize,
        /// The number of blocks of the model.
        n_blocks: usize,
    },
    /// A site that models of the family do not have.
    #[error("site {site}: a model of type {model_type} does not have it: {reason}. Give another site of the block")]
    SiteAbsent {
        /// The site.
        site: String,
        /// The model's family.
        model_type: String,
        /// Why there is none.
        reason: &'static str,
    },
    /// A device name could not be understood or is not there.
    #[error("device {name:?}: {problem}")]
    Device {
        /// What was given.
        name: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The decoder was asked for a part that was not loaded, or to go backwards.
    #[error("{asked}: not in the loaded part of the model ({loaded})")]
    NotLoaded {
        /// What was asked for.
        asked: String,
        /// What is there.
        loaded: String,
    },
    /// Input that the model cannot take.
    #[error("{problem}")]
    Input {
        /// What is wrong, with expected and got.
        problem: String,
    },
    /// LibTorch reported an error.
    #[error(transparent)]
    Torch(#[from] tch::TchError),
}

impl ModelError {
    /// Wraps an I/O error with the path that it happened at.
    pub(crate) fn io(path: &Path, cause: std::io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), cause }
    }
}

/// Reads a whole text file.
pub(crate) fn read_text(path: &Path) -> Result<String, ModelError> {
    std::fs::read_to_string(path).map_err(|source| ModelError::io(path, source))
}

/// Reads and parses a JSON file.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ModelError> {
    serde_json::from_str(&read_text(path)?).map_err(|error| ModelError::Json {
        path: path.to_path_buf(),
        problem: format!("not the expected JSON: {error}"),
    })
}
