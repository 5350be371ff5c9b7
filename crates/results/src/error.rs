//! What can go wrong with results.

use std::io;
use std::path::PathBuf;

/// An error of results.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// Results could not be written.
    #[error("{path}: cannot write: {cause}. Results that were there before are as they were")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },
}
