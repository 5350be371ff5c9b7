//! What can be wrong with an SAE's files.

use std::io;
use std::path::PathBuf;

use hayloft_model::ModelError;
use tch::TchError;

/// An error of reading an SAE, with the file, what was expected, what was found and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SaeError {
    /// The operating system refused to read.
    #[error("{path}: cannot read: {cause}. `evaluate inspect` says which files an SAE of each format has")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },
    /// A file is a link to somewhere else.
    #[error(
        "{path}: expected a file in its folder, or in the blobs of the Hub's cache that the folder lies in, got a link to {target}. Copy the file into the folder"
    )]
    LeavesFolder {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// The configuration is not JSON of the expected layout.
    #[error(
        "{path}: expected a configuration as its format has it, got {problem}. Save the SAE again, or correct the file"
    )]
    Config {
        /// The configuration file.
        path: PathBuf,
        /// What is wrong, with line and column where they are known.
        problem: String,
    },
    /// A field has a value that is not supported or makes no sense.
    #[error("{path}: {field}: expected {expected}, got {got}")]
    Field {
        /// The configuration file.
        path: PathBuf,
        /// The field.
        field: String,
        /// What is supported.
        expected: String,
        /// The value found.
        got: String,
    },
    /// A field whose meaning is not known, and which may change what the SAE computes.
    #[error(
        "{path}: expected only fields that are known, got {field} (one of {count} unknown). If it does not change what the SAE computes, take it out of the file"
    )]
    UnknownField {
        /// The configuration file.
        path: PathBuf,
        /// The first such field.
        field: String,
        /// How many there are.
        count: usize,
    },
    /// Nothing in a folder says what SAE it is.
    #[error(
        "{folder}: expected the files of an SAE, got none that are known: cfg.json and sae_weights.safetensors (SAELens), params.npz (Gemma Scope), config.json and params.safetensors (Gemma Scope 2), hyperparams.json and checkpoints/final.safetensors (Llama Scope), config.json and ae.pt (dictionary_learning), cfg.json and sae.safetensors (sparsify), config.json and sae_weights.safetensors (llamascopium), autoencoder.pt (OpenAI). Name the folder that holds them, or the file itself with --sae-format"
    )]
    NoFormat {
        /// The folder.
        folder: PathBuf,
    },
    /// A folder has the files of two formats.
    #[error(
        "{folder}: expected the files of one format, got those of {first} and of {second}. Say which with --sae-format"
    )]
    TwoFormats {
        /// The folder.
        folder: PathBuf,
        /// One format.
        first: &'static str,
        /// Another.
        second: &'static str,
    },
    /// The configuration and the weights say different things.
    #[error("{path}: {name}: expected {expected} as the configuration says, got {got}. Which of the two is right?")]
    Contradiction {
        /// The weight file.
        path: PathBuf,
        /// What they differ in.
        name: String,
        /// What the configuration says.
        expected: String,
        /// What the file says.
        got: String,
    },
    /// An SAE cannot be written in SAELens's layout.
    #[error("{path}: SAELens's layout has no {what}, so it cannot be converted. It can be evaluated as it is")]
    NotInSaelens {
        /// The SAE.
        path: PathBuf,
        /// What it is.
        what: String,
    },
    /// The weights are not a sound file of their kind.
    #[error(
        "{path}: expected a sound file of weights (safetensors, .npz or .pt), got {bytes} bytes that are none: {problem}. Copy the file again from its source"
    )]
    Weights {
        /// The weight file.
        path: PathBuf,
        /// Its size.
        bytes: usize,
        /// What is wrong.
        problem: String,
    },
    /// A tensor is not there.
    #[error(
        "{path}: expected tensor {name} of shape {expected:?}, got none: the file holds {held}. Is the architecture in cfg.json that of these weights?"
    )]
    MissingTensor {
        /// The weight file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The shape that it should have.
        expected: Vec<usize>,
        /// The tensors in the file.
        held: String,
    },
    /// A tensor that no part of the SAE uses: the configuration does not describe these weights.
    #[error(
        "{path}: expected every tensor to have a use in a {architecture} SAE, got {name}, which has none. Is the architecture in cfg.json that of these weights?"
    )]
    UntakenTensor {
        /// The weight file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The architecture that the configuration names.
        architecture: &'static str,
    },
    /// A tensor of another shape.
    #[error("{path}: tensor {name}: expected shape {expected:?}, got {got:?}{}", transposed(expected, got))]
    Shape {
        /// The weight file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The shape that the configuration calls for.
        expected: Vec<usize>,
        /// The shape in the file.
        got: Vec<usize>,
    },
    /// A tensor of a type that weights do not have.
    #[error("{path}: tensor {name}: expected F32, F64, F16 or BF16, got {got}")]
    TensorType {
        /// The weight file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The type in the file.
        got: String,
    },
    /// A tensor with NaN or infinity in it.
    #[error(
        "{path}: tensor {name}: expected finite numbers, got {count} that are NaN or infinite. The training diverged, or the file is damaged"
    )]
    NonFinite {
        /// The weight file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// How many.
        count: i64,
    },
    /// A fine-tuning scale that is not folded into the weights.
    #[error(
        "{path}: tensor scaling_factor: expected ones, got other numbers (as far as {largest:.3e} from one). Fold it into the decoder and save again"
    )]
    ScalingFactor {
        /// The weight file.
        path: PathBuf,
        /// The largest distance from one.
        largest: f64,
    },
    /// An SAE could not be written.
    #[error("{path}: cannot write: {cause}. Nothing was left there")]
    Write {
        /// The folder.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },
    /// LibTorch refused, most often for want of memory.
    #[error(transparent)]
    Torch(#[from] TchError),
    /// A tensor is not where the forward pass needs it.
    #[error(transparent)]
    Model(#[from] ModelError),
}

fn transposed(expected: &[usize], got: &[usize]) -> &'static str {
    let reversed = got.len() == 2 && got.iter().rev().eq(expected.iter());
    if reversed { ": it is transposed. Save it the other way round, as SAELens does" } else { "" }
}
