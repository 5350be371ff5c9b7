//! Errors of comparisons.

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
        /// The operating system's error.
        cause: io::Error,
    },
    /// A file exceeds the size limit.
    #[error("{path}: expected rows in at most {limit} bytes, got {bytes}")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
        /// Its size.
        bytes: u64,
    },
    /// A file does not hold rows.
    #[error("{path}: expected {{\"rows\": [...]}} as `evaluate report` writes summary.json, got {got}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The parser's error.
        got: String,
    },
    /// An expected row matches several measured rows.
    #[error(
        "{path}: expected a row that fits one measured row, got {row}, which fits {count}. Give more of its keys: family, dataset, section, sae, model, site, outliers_filtered"
    )]
    Ambiguous {
        /// The file of expected rows.
        path: PathBuf,
        /// The row.
        row: String,
        /// The number of matches.
        count: usize,
    },
    /// The expected rows have no metrics.
    #[error("{path}: expected figures in its rows, got none. A figure is one of: {columns}")]
    NoFigures {
        /// The file of expected rows.
        path: PathBuf,
        /// The known columns.
        columns: String,
    },
}
