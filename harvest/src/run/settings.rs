//! Harvest settings.

use std::path::PathBuf;

use hayloft_runtime::{Dtype, Stopping};
use hayloft_store::{Codec, Existing, NonFinite, RemoteOptions, Sharing};
use tch::Device;

use super::logits::Logits;
use super::shard_range::ShardRange;
use super::site_pattern::SitePattern;

/// Harvest settings.
#[derive(Debug, Clone)]
pub struct RunSettings {
    /// The checkpoint's folder.
    pub model: PathBuf,
    /// The data manifest. Optional if a plan exists.
    pub data: Option<PathBuf>,
    /// Base of relative paths in the data manifest; by default the manifest's folder.
    pub data_root: Option<PathBuf>,
    /// The cache's folder. When sharing with other processes, it may be a location such as `s3://farm/stories`.
    pub out: PathBuf,
    /// Target number of tokens in a shard; by default the existing plan's, else [`PlanSettings::SHARD_TOKENS`](crate::PlanSettings::SHARD_TOKENS).
    pub shard_tokens: Option<u64>,
    /// Target number of rows in a row group; by default the existing plan's, else [`PlanSettings::ROW_GROUP_ROWS`](crate::PlanSettings::ROW_GROUP_ROWS).
    pub row_group_rows: Option<u32>,
    /// The sites to keep; at least one. Sites needed to resume the forward pass from these are kept too.
    pub sites: Vec<SitePattern>,
    /// The codec of stored activations.
    pub codec: Codec,
    /// The dtype of inference and of stored activations; by default the checkpoint's.
    pub precision: Option<Dtype>,
    /// The device to run on.
    pub device: Device,
    /// Which predictions are kept.
    pub logits: Logits,
    /// Which of the planned shards to fill.
    pub shards: ShardRange,
    /// What to do if the cache has shards. When sharing with other processes, existing shards are kept.
    pub existing: Existing,
    /// Settings for sharing the cache with other processes; `None` for exclusive use.
    pub share: Option<ShareSettings>,
    /// The stop request.
    pub stopping: Stopping,
    /// What to do with activations that are NaN or infinite.
    pub non_finite: NonFinite,
}

/// Returns the name of a device as `--device` takes it.
pub(crate) fn device_name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_owned(),
    }
}

/// Settings for sharing a cache with other processes on any machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareSettings {
    /// How long a process may be silent before another worker takes over its shard.
    pub sharing: Sharing,
    /// Local folder for shards before they are uploaded, if the cache is in a bucket.
    pub scratch: PathBuf,
    /// Whether the cloud instance's credentials are used if no variable sets any.
    pub instance_credentials: bool,
}

impl ShareSettings {
    /// Returns the options to reach a bucket.
    pub(super) fn remote(&self) -> RemoteOptions {
        RemoteOptions { instance_credentials: self.instance_credentials, ..RemoteOptions::default() }
    }
}
