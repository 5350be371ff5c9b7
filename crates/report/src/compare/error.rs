//! What can go wrong with a comparison.

use std::io;
use std::path::PathBuf;

/// An error of a comparison.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// A file could not be read.
    #[error("{path}: cannot read: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },
    /// A file is too large to be what it should be.
    #[error("{path}: expected rows in at most {limit} bytes, got {bytes}")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most bytes.
        limit: u64,
        /// Its size.
        bytes: u64,
    },
    /// A file does not hold rows.
    #[error("{path}: expected {{\"rows\": [...]}} as `evaluate report` writes summary.json, got {got}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it holds.
        got: String,
    },
    /// An expected row does not say which measured row it is about.
    #[error(
        "{path}: expected a row that fits one measured row, got {row}, which fits {count}. Give more of its keys: family, dataset, section, sae, model, outliers_filtered"
    )]
    Ambiguous {
        /// The file of expected rows.
        path: PathBuf,
        /// The row.
        row: String,
        /// How many it fits.
        count: usize,
    },
    /// There is nothing to compare.
    #[error("{path}: expected figures in its rows, got none. A figure is one of: {columns}")]
    NoFigures {
        /// The file of expected rows.
        path: PathBuf,
        /// The columns there are.
        columns: String,
    },
}
