//! What a harvest is asked for.

use std::path::PathBuf;

use hayloft_runtime::{Dtype, Stopping};
use hayloft_store::{Codec, Existing, NonFinite, RemoteOptions, Sharing};
use tch::Device;

use super::logits::Logits;
use super::shard_range::ShardRange;
use super::site_pattern::SitePattern;

/// What to harvest.
#[derive(Debug, Clone)]
pub struct RunSettings {
    /// The checkpoint's folder.
    pub model: PathBuf,
    /// The data manifest. It may be left out where there is a plan.
    pub data: Option<PathBuf>,
    /// Where relative paths in the data manifest start; by default its own folder.
    pub data_root: Option<PathBuf>,
    /// The cache's folder; beside other processes it may be a location, such as `s3://farm/stories`.
    pub out: PathBuf,
    /// The tokens that a shard is filled up to; by default those of the plan that is there, else
    /// [`PlanSettings::SHARD_TOKENS`].
    pub shard_tokens: Option<u64>,
    /// The rows that a row group is filled up to; by default those of the plan that is there, else
    /// [`PlanSettings::ROW_GROUP_ROWS`].
    pub row_group_rows: Option<u32>,
    /// The sites to keep; at least one. Sites that going on from these takes are kept beside them.
    pub sites: Vec<SitePattern>,
    /// How activations are stored.
    pub codec: Codec,
    /// What the model runs in and activations are stored in; by default what the checkpoint is stored in.
    pub precision: Option<Dtype>,
    /// Where the model runs.
    pub device: Device,
    /// What is kept of the predictions.
    pub logits: Logits,
    /// Which of the planned shards to fill.
    pub shards: ShardRange,
    /// What to do where the cache has shards already. Beside other processes they are kept.
    pub existing: Existing,
    /// How the cache is filled beside other processes; `None` where this one is to be alone.
    pub share: Option<Share>,
    /// Asks the run to stop.
    pub stopping: Stopping,
    /// What to do with activations that are NaN or infinite.
    pub non_finite: NonFinite,
}

/// How a cache is filled beside other processes, on whatever machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// How long a process may be silent before others take its shard over.
    pub sharing: Sharing,
    /// Where shards are written before they are pushed, where the cache is in a bucket.
    pub scratch: PathBuf,
    /// Whether this machine, as one of a cloud, is asked for credentials where no variable names any.
    pub instance_credentials: bool,
}

impl Share {
    /// How a bucket is reached.
    pub(super) fn remote(&self) -> RemoteOptions {
        RemoteOptions { instance_credentials: self.instance_credentials, ..RemoteOptions::default() }
    }
}
