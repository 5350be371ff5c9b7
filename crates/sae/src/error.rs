//! Errors of reading and writing SAEs.

use std::io;
use std::path::PathBuf;

use hayloft_model::ModelError;
use tch::TchError;

/// An error of reading or writing an SAE. Messages name the file, the expected and actual values, and a remedy.
#[derive(Debug, thiserror::Error)]
pub enum SaeError {
    /// A file cannot be read.
    #[error("{path}: cannot read: {cause}{}", absent(cause))]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        cause: io::Error,
    },
    /// A file is a link that leaves its folder.
    #[error(
        "{path}: expected a file in its folder, or in the blobs of the Hub's cache that the folder lies in, got a link to {target}. Copy the file into the folder"
    )]
    LeavesFolder {
        /// The link.
        path: PathBuf,
        /// The link's target.
        target: PathBuf,
    },
    /// The configuration is not JSON with the expected layout.
    #[error("{path}: expected a configuration as its format has it, got {problem}")]
    Config {
        /// The configuration file.
        path: PathBuf,
        /// The problem, with line and column if known, and what to do.
        problem: String,
    },
    /// A field has an unsupported or invalid value.
    #[error("{path}: {field}: expected {expected}, got {got}")]
    Field {
        /// The configuration file.
        path: PathBuf,
        /// The field.
        field: String,
        /// The supported values.
        expected: String,
        /// The actual value.
        got: String,
    },
    /// An unknown field, which may change what the SAE computes.
    #[error(
        "{path}: expected only fields that are known, got {field} (one of {count} unknown). If it does not change what the SAE computes, take it out of the file"
    )]
    UnknownField {
        /// The configuration file.
        path: PathBuf,
        /// The first unknown field.
        field: String,
        /// Number of unknown fields.
        count: usize,
    },
    /// No known format matches the folder.
    #[error(
        "{path}: expected the files of an SAE, in it or in folders below it, got {got}. Known are cfg.json and sae_weights.safetensors (SAELens), params.npz (Gemma Scope), params.safetensors (Gemma Scope 2), hyperparams.json and checkpoints/final.safetensors (Llama Scope), ae.pt (dictionary_learning), cfg.json and sae.safetensors (sparsify), config.json and sae_weights.safetensors (llamascopium), layer0.sae.pt (Qwen-Scope), layer_0.safetensors (circuit-tracer), autoencoder.pt (OpenAI). Name the folder that holds them, or the file itself with --sae-format"
    )]
    NoFormat {
        /// The folder or file.
        path: PathBuf,
        /// What there is instead.
        got: String,
    },
    /// Something else than an SAE, with its own remedy.
    #[error("{path}: expected an SAE, got {got}")]
    NoSae {
        /// The folder or file.
        path: PathBuf,
        /// What it is and what to do.
        got: &'static str,
    },
    /// A configuration file is named in place of an SAE.
    #[error(
        "{path}: expected an SAE's folder, or its one file of weights, got a configuration. Name the folder, {folder}"
    )]
    NoWeights {
        /// The configuration file.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
    },
    /// An SAE of SAELens's registry, named where files are opened.
    #[error(
        "{path}: expected files on this machine, got the name of an SAE in SAELens's registry, which is {file} of {repository} on the Hugging Face Hub. `evaluate inspect {path}` fetches it"
    )]
    NotFetched {
        /// The name, which is no path.
        path: PathBuf,
        /// The repository.
        repository: &'static str,
        /// The folder or file in the repository.
        file: &'static str,
    },
    /// A repository has no SAE at a path.
    #[error("{path}: expected the folder or the file of one SAE, got {got}")]
    NotPublished {
        /// The path in the repository.
        path: String,
        /// What there is.
        got: String,
    },
    /// No file, and no SAE of SAELens's registry.
    #[error("{path}: expected files on this machine, or an SAE of SAELens's registry: {problem}")]
    NotInRegistry {
        /// The name.
        path: PathBuf,
        /// The problem, with the nearest name.
        problem: String,
    },
    /// A folder holds the weight files of several SAEs, or of none.
    #[error("{folder}: expected one file of weights of the format {format}, got {count}: {held}. Name one of them")]
    SeveralInFolder {
        /// The folder.
        folder: PathBuf,
        /// The format.
        format: &'static str,
        /// Number of weight files.
        count: usize,
        /// Their names.
        held: String,
    },
    /// A pattern of paths is malformed or matches no SAE.
    #[error("{pattern}: expected a pattern that matches SAEs, such as 'saes/*' in quotes: {problem}")]
    Pattern {
        /// The pattern.
        pattern: PathBuf,
        /// The problem.
        problem: String,
    },
    /// The folder matches two formats.
    #[error(
        "{folder}: expected the files of one format, got those of {first} and of {second}. Say which with --sae-format"
    )]
    TwoFormats {
        /// The folder.
        folder: PathBuf,
        /// The first format.
        first: &'static str,
        /// The second format.
        second: &'static str,
    },
    /// The configuration and the weights disagree.
    #[error("{path}: {name}: expected {expected} as the configuration says, got {got}. Which of the two is right?")]
    Contradiction {
        /// The weight file.
        path: PathBuf,
        /// The quantity they disagree on.
        name: String,
        /// The configuration's value.
        expected: String,
        /// The weight file's value.
        got: String,
    },
    /// The SAE has no representation in SAELens's layout.
    #[error("{path}: SAELens's layout has no {what}, so it cannot be converted. It can be evaluated as it is")]
    NotInSaelens {
        /// The SAE.
        path: PathBuf,
        /// The feature that SAELens's layout lacks.
        what: String,
    },
    /// The weight file is malformed.
    #[error(
        "{path}: expected a sound file of weights (safetensors, .npz or .pt), got {bytes} bytes that are none: {problem}"
    )]
    Weights {
        /// The weight file.
        path: PathBuf,
        /// Its size in bytes.
        bytes: usize,
        /// The problem and what to do.
        problem: String,
    },
    /// A tensor is missing.
    #[error(
        "{path}: expected tensor {name}{}, got none: the file holds {held}. Are these the weights of another architecture?",
        of_shape(expected)
    )]
    MissingTensor {
        /// The weight file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The expected shape; empty if it is not known.
        expected: Vec<usize>,
        /// The tensors in the file.
        held: String,
    },
    /// A tensor that the SAE does not use, so the configuration does not describe these weights.
    #[error(
        "{path}: expected every tensor to have a use in a {architecture} SAE, got {name}, which has none. Are these the weights of another architecture?"
    )]
    UntakenTensor {
        /// The weight file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The architecture named by the configuration.
        architecture: &'static str,
    },
    /// A tensor has the wrong shape.
    #[error("{path}: tensor {name}: expected shape {expected:?}, got {got:?}{}", transposed(expected, got))]
    Shape {
        /// The weight file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The shape implied by the configuration.
        expected: Vec<usize>,
        /// The shape in the file.
        got: Vec<usize>,
    },
    /// A tensor has an unsupported dtype.
    #[error("{path}: tensor {name}: expected F32, F64, F16 or BF16, got {got}")]
    TensorType {
        /// The weight file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The dtype in the file.
        got: String,
    },
    /// A tensor contains NaN or infinite values.
    #[error(
        "{path}: tensor {name}: expected finite numbers, got {count} that are NaN or infinite. The training diverged, or the file is damaged"
    )]
    NonFinite {
        /// The weight file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Number of non-finite values.
        count: i64,
    },
    /// A fine-tuning scale that has not been folded into the weights.
    #[error(
        "{path}: tensor scaling_factor: expected ones, got other numbers (as far as {largest:.3e} from one). Fold it into the decoder and save again"
    )]
    ScalingFactor {
        /// The weight file.
        path: PathBuf,
        /// The largest deviation from one.
        largest: f64,
    },
    /// An SAE cannot be written.
    #[error("{path}: cannot write: {cause}. Nothing was written")]
    Write {
        /// The folder.
        path: PathBuf,
        /// The operating system's error.
        cause: io::Error,
    },
    /// A LibTorch error, most often out of memory.
    #[error(transparent)]
    Torch(#[from] TchError),
    /// A tensor has the wrong dtype, device or layout for the forward pass.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Advice where a file is absent.
fn absent(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::NotFound => ". It belongs to an SAE of this format. Copy it from where the others are from",
        _ => "",
    }
}

fn of_shape(shape: &[usize]) -> String {
    if shape.is_empty() { String::new() } else { format!(" of shape {shape:?}") }
}

fn transposed(expected: &[usize], got: &[usize]) -> &'static str {
    let reversed = got.len() == 2 && got.iter().rev().eq(expected.iter());
    if reversed { ": it is transposed. Save it the other way round, as SAELens does" } else { "" }
}
