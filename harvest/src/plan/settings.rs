//! Plan settings.

use std::path::PathBuf;

/// Plan settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanSettings {
    /// The checkpoint's folder. Only its configuration and tokenizer are read.
    pub model: PathBuf,
    /// The data manifest.
    pub data: PathBuf,
    /// Base of relative paths in the data manifest; by default the manifest's folder.
    pub data_root: Option<PathBuf>,
    /// The cache's folder.
    pub out: PathBuf,
    /// Target number of tokens in a shard.
    pub shard_tokens: u64,
    /// Target number of rows in a row group.
    pub row_group_rows: u32,
}

impl PlanSettings {
    /// Default number of tokens in a shard: seconds of work on a GPU, so an interrupted run loses little, and files are
    /// large enough for a bucket.
    pub const SHARD_TOKENS: u64 = 65536;
    /// Default number of rows in a row group.
    pub const ROW_GROUP_ROWS: u32 = 4096;
}
