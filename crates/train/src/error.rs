//! Errors of training.

use std::io;
use std::path::{Path, PathBuf};

use hayloft_model::ModelError;
use hayloft_rows::RowsError;
use hayloft_sae::SaeError;
use hayloft_store::StoreError;
use tch::TchError;

use crate::agreement::sae_site::SiteError;

/// An error of training. Messages name the expected and actual values and a remedy.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The cache cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The model or its tokenizer cannot be read.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// An SAE cannot be read or run.
    #[error(transparent)]
    Sae(#[from] SaeError),
    /// Row selection failed.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// The SAE's site does not match.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// A LibTorch error, most often out of memory.
    #[error(transparent)]
    Torch(#[from] TchError),
    /// The cache has no complete shard.
    #[error("{cache}: expected at least one whole shard, got none. Go on with `harvest run --resume`")]
    EmptyCache {
        /// The cache's folder.
        cache: PathBuf,
    },
    /// A setting is invalid.
    #[error("{what}: expected {expected}, got {got}")]
    Setting {
        /// The setting.
        what: &'static str,
        /// The allowed values.
        expected: String,
        /// The given value.
        got: String,
    },
    /// Fewer tokens are requested than a batch holds.
    #[error(
        "tokens: expected at least one batch of {batch} (and batches of at least one), got {asked}. Train on more (--tokens), or in smaller batches (--batch)"
    )]
    TooFewTokens {
        /// The requested tokens.
        asked: u64,
        /// Rows per batch.
        batch: usize,
    },
    /// The cache has fewer kept rows than a batch holds.
    #[error(
        "{cache}: expected at least {batch} activations to fill a batch, got {rows} of {held} that sections and outlier norm leave. Harvest more, leave out fewer, or train in smaller batches (--batch)"
    )]
    TooFewRows {
        /// The cache's folder.
        cache: PathBuf,
        /// Rows per batch.
        batch: usize,
        /// Kept rows.
        rows: usize,
        /// Rows in the cache.
        held: u64,
    },
    /// The output folder is not empty.
    #[error(
        "{out}: expected no folder or an empty one, got files. Go on with a training that was begun there by --resume, or name another folder"
    )]
    OutExists {
        /// The folder.
        out: PathBuf,
    },
    /// The settings differ from those of the training to be resumed.
    #[error(
        "{out}: {what}: expected {expected}, as the training was begun with, got {got}. Resume with the same settings, or train into another folder"
    )]
    OtherSettings {
        /// The folder.
        out: PathBuf,
        /// The setting.
        what: String,
        /// The value that the training was started with.
        expected: String,
        /// The requested value.
        got: String,
    },
    /// A checkpoint is damaged.
    #[error("{path}: expected {expected}, got {got}. The checkpoint is damaged: train again into another folder")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// The expected content.
        expected: String,
        /// The actual content.
        got: String,
    },
    /// The loss is not finite.
    #[error(
        "step {step}: expected a finite loss, got {loss} (norm of the gradients {gradient_norm}): the training diverged and was stopped. {}. Try a smaller --learning-rate, a longer --warm-up, --scale auto or an --outlier-norm",
        last_good(checkpoint.as_ref())
    )]
    Diverged {
        /// The step, from 1.
        step: u64,
        /// The loss.
        loss: f64,
        /// The norm of the gradients.
        gradient_norm: f64,
        /// The last valid checkpoint, if any.
        checkpoint: Option<PathBuf>,
    },
    /// A file cannot be read.
    #[error("{path}: cannot read: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        cause: io::Error,
    },
    /// A file cannot be written.
    #[error("{path}: cannot write: {cause}. Checkpoints that were there before are as they were; go on with --resume")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        cause: io::Error,
    },
    /// The reader thread ended early.
    #[error("the thread that reads the cache ended early: a defect in hayloft, please report it")]
    ReaderLost,
}

impl TrainError {
    /// A setting that is invalid.
    pub(crate) fn setting(what: &'static str, expected: impl Into<String>, got: &(impl ToString + ?Sized)) -> Self {
        Self::Setting { what, expected: expected.into(), got: got.to_string() }
    }

    /// A file of a training with other content than expected.
    pub(crate) fn damaged(path: &Path, expected: impl Into<String>, got: &(impl ToString + ?Sized)) -> Self {
        Self::Checkpoint { path: path.to_path_buf(), expected: expected.into(), got: got.to_string() }
    }

    /// Wraps an I/O error of writing to a path.
    pub(crate) fn write(path: &Path) -> impl Fn(io::Error) -> Self {
        let path = path.to_path_buf();
        move |cause| Self::Write { path: path.clone(), cause }
    }
}

fn last_good(checkpoint: Option<&PathBuf>) -> String {
    checkpoint.map_or_else(
        || "There was no checkpoint yet".to_owned(),
        |folder| format!("The last good checkpoint, an SAE that can be evaluated, is {}", folder.display()),
    )
}
