//! What rollouts are asked for.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use hayloft_model::Sampling;
use hayloft_runtime::{Dtype, Part};
use hayloft_store::Existing;
use tch::Device;

/// What to generate.
#[derive(Debug, Clone, PartialEq)]
pub struct RolloutSettings {
    /// The checkpoint's folder.
    pub model: PathBuf,
    /// The data manifest; it has a `[chat]` table.
    pub data: PathBuf,
    /// Where relative paths in the data manifest start; by default its own folder.
    pub data_root: Option<PathBuf>,
    /// The Parquet file.
    pub out: PathBuf,
    /// The most tokens of a rollout.
    pub max_new_tokens: NonZeroUsize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Texts of the tokens at which a rollout ends; where there are none, those that the data manifest, the checkpoint
    /// and the template name.
    pub stop: Vec<String>,
    /// The most tokens of a batch, padding and room for new tokens counted in.
    pub batch_tokens: NonZeroUsize,
    /// What the model runs in; by default what the checkpoint is stored in.
    pub precision: Option<Dtype>,
    /// Where the model runs.
    pub device: Device,
    /// Only the first so many of the selected rows are used.
    pub limit: Option<NonZeroUsize>,
    /// What to do where there are rollouts, or parts of them, already. For a share of the batches, they are kept.
    pub existing: Existing,
    /// Which share of the batches to generate, where several processes share them; they stay in `OUT.parts`.
    pub part: Option<Part>,
}

impl RolloutSettings {
    /// The most new tokens, unless something else is asked for: the study's.
    pub const MAX_NEW_TOKENS: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");
    /// The tokens of a batch, unless something else is asked for: 2 GB of keys and values for a model of 7 billion
    /// parameters in bf16 with grouped heads.
    pub const BATCH_TOKENS: NonZeroUsize = NonZeroUsize::new(16384).expect("not zero");
}
