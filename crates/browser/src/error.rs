//! Errors of the page.

use std::io;
use std::path::PathBuf;

use hayloft_latents::LatentsError;

/// An error of the page.
#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    /// A file of latents is wrong.
    #[error(transparent)]
    Latents(#[from] LatentsError),
    /// Files of latents do not fit each other, or the page.
    #[error("{path}: expected {expected}, got {got}")]
    Misfit {
        /// The file or folder.
        path: PathBuf,
        /// The expected content.
        expected: String,
        /// The actual content.
        got: String,
    },
    /// Explanations are wrong.
    #[error("{path}: {place}: expected {expected}, got {got}")]
    Explanation {
        /// The file.
        path: PathBuf,
        /// The line, or the entry of an array.
        place: String,
        /// The expected content.
        expected: String,
        /// The actual content.
        got: String,
    },
    /// Two SAEs cannot be compared.
    #[error("--compare {asked}: expected {expected}, got {got}")]
    Comparison {
        /// The two SAEs, as asked for.
        asked: String,
        /// What is expected of them.
        expected: String,
        /// What they are.
        got: String,
    },
    /// A file could not be read.
    #[error("{path}: cannot read: {cause}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        cause: io::Error,
    },
    /// A file could not be written.
    #[error("{path}: cannot write: {cause}. Is there room, and may you write there?")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        cause: io::Error,
    },
    /// The folder holds something else.
    #[error("{path}: expected no folder, an empty one, or an earlier page, got {got}. Name another folder")]
    Occupied {
        /// The folder.
        path: PathBuf,
        /// What is in it.
        got: String,
    },
}
