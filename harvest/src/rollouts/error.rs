//! Errors of rollouts.

use std::io;
use std::path::{Path, PathBuf};

use hayloft_checkpoint::CheckpointError;
use hayloft_model::ModelError;

use crate::chat::ChatError;
use crate::data::DataError;
use crate::error::HarvestError;

/// An error of making or reading rollouts. Every message names the file or flag, what was expected, what was found and
/// what to do.
#[derive(Debug, thiserror::Error)]
pub enum RolloutError {
    /// The instructions or the template cannot be used.
    #[error(transparent)]
    Harvest(#[from] HarvestError),
    /// The model or its tokenizer cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The data manifest has no `[chat]` table.
    #[error(
        "{manifest}: expected a [chat] table, with the instructions and the template, got none. data-manifests/README.md describes it; the least is an empty [chat]"
    )]
    NotChat {
        /// The data manifest.
        manifest: PathBuf,
    },
    /// The output's name has no ending that data manifests recognise.
    #[error("--out {path}: expected a name that ends in .parquet, by which data manifests recognise the file")]
    OutName {
        /// The path given.
        path: PathBuf,
    },
    /// Rollouts already exist.
    #[error(
        "{path}: expected nothing here, got rollouts of an earlier run. Go on with them with --resume, use another --out, or remove it"
    )]
    Exists {
        /// The file, or the folder of its parts.
        path: PathBuf,
    },
    /// The existing rollouts were made with other settings.
    #[error(
        "{path}: {setting}: expected {expected} as requested, got {got} in the existing file. Request the same, use another --out, or remove it"
    )]
    Differs {
        /// The file.
        path: PathBuf,
        /// The setting or value that differs.
        setting: String,
        /// The requested value.
        expected: String,
        /// The existing value.
        got: String,
    },
    /// A file is not a complete rollouts file.
    #[error("{path}: not a whole rollouts file: {problem}. If it is a part of a run that is to go on, remove it")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The operating system refused an operation.
    #[error("{path}: cannot {action}: {cause}. Is there room on the disk, and may you write there?")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operation, as a verb.
        action: &'static str,
        /// The operating system's error.
        cause: io::Error,
    },
}

impl From<CheckpointError> for RolloutError {
    fn from(error: CheckpointError) -> Self {
        Self::Model(error.into())
    }
}

impl RolloutError {
    /// Wraps an I/O error with the operation.
    pub(super) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io { path: path.to_owned(), action, cause }
    }
}

impl From<DataError> for RolloutError {
    fn from(error: DataError) -> Self {
        Self::Harvest(error.into())
    }
}

impl From<ChatError> for RolloutError {
    fn from(error: ChatError) -> Self {
        Self::Harvest(error.into())
    }
}
