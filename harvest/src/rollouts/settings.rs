//! Rollout settings.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use hayloft_model::Sampling;
use hayloft_runtime::{Dtype, Part};
use hayloft_store::Existing;
use tch::Device;

/// Rollout settings.
#[derive(Debug, Clone, PartialEq)]
pub struct RolloutSettings {
    /// The checkpoint's folder.
    pub model: PathBuf,
    /// The data manifest; must have a `[chat]` table.
    pub data: PathBuf,
    /// Base of relative paths in the data manifest; by default the manifest's folder.
    pub data_root: Option<PathBuf>,
    /// The output Parquet file.
    pub out: PathBuf,
    /// Limit on the tokens of a rollout.
    pub max_new_tokens: NonZeroUsize,
    /// The sampling settings.
    pub sampling: Sampling,
    /// Texts of the tokens that end a rollout. If empty, those of the data manifest, the checkpoint and the template.
    pub stop: Vec<String>,
    /// Limit on the tokens of a batch, including padding and room for new tokens.
    pub batch_tokens: NonZeroUsize,
    /// The dtype of inference; by default the checkpoint's.
    pub precision: Option<Dtype>,
    /// The device to run on.
    pub device: Device,
    /// Use only the first `limit` selected rows.
    pub limit: Option<NonZeroUsize>,
    /// What to do if rollouts or parts exist. For a share of the batches, existing parts are kept.
    pub existing: Existing,
    /// The share of batches to generate, if several processes share them. The parts stay in `OUT.parts`.
    pub part: Option<Part>,
}

impl RolloutSettings {
    /// Default limit on new tokens, as in the study.
    pub const MAX_NEW_TOKENS: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");
    /// Default tokens of a batch: 2 GB of keys and values for a model of 7 billion parameters in bf16 with
    /// grouped-query attention.
    pub const BATCH_TOKENS: NonZeroUsize = NonZeroUsize::new(16384).expect("not zero");
}
