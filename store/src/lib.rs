#![doc = include_str!("../FORMAT.md")]

mod codec;
pub mod convert;
mod error;
mod format;
mod fs;
#[doc(hidden)]
pub mod fuzzing;
#[doc(hidden)]
pub mod kernels;
pub mod maintain;
mod read;
mod remote;
#[doc(hidden)]
pub mod safe_parquet;
mod workers;
mod write;

// Lets the unit tests share support code with the integration tests.
#[cfg(test)]
extern crate self as hayloft_store;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;

pub use codec::Codec;
pub use codec::rounding::RoundingError;
pub use convert::{ExchangeProgress, ExportSettings, ExportSummary, ImportSettings, ImportSummary};
pub use error::{Result, StoreError};
pub use format::activations::reader::ActivationReader;
pub use format::group_sums::{GroupSums, NormSums, PredictionSums};
pub use format::manifest::{Manifest, SiteRecord};
pub use format::plan::{Plan, PlanReader, PlanShard, PlanWriter, plan_at};
pub use format::records::{
    ChatRecord, Corpus, Counts, DataRecord, FileRecord, KeptPredictions, ModelRecord, Packing, SelectedFrom,
    SelectionRecord, ShardRecord, TokenizerRecord,
};
pub use format::section::Section;
pub use format::settings::{Existing, HarvestSettings, NonFinite};
pub use format::shard_record::{ShardContents, ShardLogits, ShardSite, WrittenShard};
pub use format::site::SiteName;
pub use format::statistics::ActivationSums;
pub use format::tables::predictions::Predictions;
pub use format::tables::sequences::{Sequence, row_group_rows};
pub use format::tables::tokens::Tokens;
#[cfg(feature = "failpoints")]
#[doc(hidden)]
pub use fs::failpoints;
pub use hayloft_runtime::Dtype;
pub use maintain::verify::{Damage, Progress, Report, verify};
pub use read::cache::{Cache, Shard, ShardTokens};
pub use read::inspect::{GroupSummary, SiteSummary, StatisticsSummary, Summary, inspect, inspect_at};
#[doc(hidden)]
pub use remote::check_arguments;
pub use remote::{
    Environment, LocalPath, Location, Moved, Place, PullSelection, Pulled, Pushed, RemoteOptions, ShardRange, Traffic,
    parse_bytes, pull, push,
};
pub use workers::{ShardQueue, Sharing};
pub use write::cache_writer::CacheWriter;
pub use write::shard_writer::ShardWriter;

/// The format version that this crate reads and writes.
pub const FORMAT_VERSION: u32 = 1;
