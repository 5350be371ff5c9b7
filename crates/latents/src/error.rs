//! Errors of statistics of latents.

use std::io;
use std::path::PathBuf;

/// An error of statistics of latents, or of their files.
#[derive(Debug, thiserror::Error)]
pub enum LatentsError {
    /// An activation is NaN or infinity.
    #[error(
        "expected finite activations, got {value} of latent {latent} at position {position} of sequence {sequence}"
    )]
    NonFinite {
        /// The latent.
        latent: u32,
        /// The activation.
        value: f32,
        /// The id of the sequence.
        sequence: u64,
        /// The position in it.
        position: u32,
    },
    /// A file could not be written.
    #[error("{path}: cannot write: {cause}. Is there room, and may you write there?")]
    Write {
        /// The file.
        path: PathBuf,
        /// The error of the operating system, or of the Parquet library.
        cause: io::Error,
    },
    /// A file could not be opened.
    #[error("{path}: cannot read: {cause}. `evaluate latents --out` writes it")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        cause: io::Error,
    },
    /// A file is not one of latents.
    #[error("{path}: expected {expected}, got {got}. Write it again with `evaluate latents`")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The expected content.
        expected: String,
        /// The actual content.
        got: String,
    },
}
