//! Errors of writing results.

use std::io;
use std::path::PathBuf;

/// An error of writing results.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// Results could not be written.
    #[error("{path}: cannot write: {cause}. Results that were there before are as they were")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        cause: io::Error,
    },
}
