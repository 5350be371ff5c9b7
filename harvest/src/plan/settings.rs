//! What a plan is asked for.

use std::path::PathBuf;

/// What to plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanSettings {
    /// The checkpoint's folder. Only its configuration and tokenizer are read.
    pub model: PathBuf,
    /// The data manifest.
    pub data: PathBuf,
    /// Where relative paths in the data manifest start; by default its own folder.
    pub data_root: Option<PathBuf>,
    /// The cache's folder.
    pub out: PathBuf,
    /// The tokens that a shard is filled up to.
    pub shard_tokens: u64,
    /// The rows that a row group is filled up to.
    pub row_group_rows: u32,
}

impl PlanSettings {
    /// The tokens of a shard, unless something else is asked for: seconds of work on a GPU, so that little is lost when
    /// a run is stopped, and files large enough for a bucket.
    pub const SHARD_TOKENS: u64 = 65536;
    /// The rows of a row group, unless something else is asked for.
    pub const ROW_GROUP_ROWS: u32 = 4096;
}
