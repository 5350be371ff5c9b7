//! What can go wrong with a training.

use std::io;
use std::path::PathBuf;

use hayloft_model::ModelError;
use hayloft_rows::RowsError;
use hayloft_sae::SaeError;
use hayloft_store::StoreError;
use tch::TchError;

use crate::agreement::sae_site::SiteError;

/// An error of a training, said with what was expected, what was found and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The cache could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The model or its tokenizer could not be read.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// An SAE could not be read or run.
    #[error(transparent)]
    Sae(#[from] SaeError),
    /// Rows of the cache could not be chosen.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// The SAE is of another site.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// LibTorch refused, most often for want of memory.
    #[error(transparent)]
    Torch(#[from] TchError),
    /// There is nothing to train on.
    #[error("{cache}: expected at least one whole shard, got none. Go on with `harvest run --resume`")]
    EmptyCache {
        /// The cache's folder.
        cache: PathBuf,
    },
    /// A setting that makes no sense.
    #[error("{what}: expected {expected}, got {got}")]
    Setting {
        /// The setting.
        what: &'static str,
        /// What is allowed.
        expected: String,
        /// What was given.
        got: String,
    },
    /// Fewer tokens were asked for than a batch has.
    #[error(
        "tokens: expected at least one batch of {batch} (and batches of at least one), got {asked}. Train on more (--tokens), or in smaller batches (--batch)"
    )]
    TooFewTokens {
        /// The tokens asked for.
        asked: u64,
        /// The rows of a batch.
        batch: usize,
    },
    /// The cache holds fewer rows than a batch has.
    #[error(
        "{cache}: expected at least {batch} activations to fill a batch, got {rows} of {held} that sections and outlier norm leave. Harvest more, leave out fewer, or train in smaller batches (--batch)"
    )]
    TooFewRows {
        /// The cache's folder.
        cache: PathBuf,
        /// The rows of a batch.
        batch: usize,
        /// Rows that are kept.
        rows: usize,
        /// Rows that the cache holds.
        held: u64,
    },
    /// Something is there already.
    #[error(
        "{out}: expected no folder or an empty one, got files. Go on with a training that was begun there by --resume, or name another folder"
    )]
    OutExists {
        /// The folder.
        out: PathBuf,
    },
    /// A training cannot be gone on with under other settings.
    #[error(
        "{out}: {what}: expected {expected}, as the training was begun with, got {got}. Resume with the same settings, or train into another folder"
    )]
    OtherSettings {
        /// The folder.
        out: PathBuf,
        /// The setting.
        what: String,
        /// What the training was begun with.
        expected: String,
        /// What is asked for now.
        got: String,
    },
    /// A checkpoint is not what was written.
    #[error("{path}: expected {expected}, got {got}. The checkpoint is damaged: train again into another folder")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wanted.
        expected: String,
        /// What is there.
        got: String,
    },
    /// A checkpoint names a row that the cache does not have.
    #[error(
        "row group {block} of the cache: expected row {row}, which the checkpoint names, got fewer rows. The checkpoint is damaged: train again into another folder"
    )]
    OtherRows {
        /// The row group, counted over the cache.
        block: u32,
        /// The row in it.
        row: usize,
    },
    /// The loss is no longer a number.
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
        /// The last good checkpoint, if there is one.
        checkpoint: Option<PathBuf>,
    },
    /// A file could not be read.
    #[error("{path}: cannot read: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },
    /// A file could not be written.
    #[error("{path}: cannot write: {cause}. Checkpoints that were there before are as they were; go on with --resume")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },
    /// A thread ended before its work was done.
    #[error("the thread that reads the cache ended early: a defect in hayloft, please report it")]
    ReaderLost,
}

fn last_good(checkpoint: Option<&PathBuf>) -> String {
    checkpoint.map_or_else(
        || "There was no checkpoint yet".to_owned(),
        |folder| format!("The last good checkpoint, an SAE that can be evaluated, is {}", folder.display()),
    )
}
