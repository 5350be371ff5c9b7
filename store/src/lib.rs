#![doc = include_str!("../FORMAT.md")]
#![cfg_attr(
    not(all(feature = "remote", feature = "workers", feature = "maintain", feature = "convert")),
    allow(dead_code, unused_imports, reason = "some shared functions serve one feature")
)]

mod codec;
#[cfg(feature = "convert")]
pub mod convert;
mod error;
mod format;
mod fs;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
#[cfg(feature = "bench")]
pub mod kernels;
#[cfg(feature = "maintain")]
pub mod maintain;
mod read;
#[cfg(feature = "remote")]
mod remote;
pub mod safe_parquet;
#[cfg(feature = "workers")]
mod workers;
mod write;

// Lets the unit tests share support code with the integration tests.
#[cfg(test)]
extern crate self as hayloft_store;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;

pub use arrow_array;
pub use codec::Codec;
pub use codec::rounding::RoundingError;
#[cfg(feature = "convert")]
pub use convert::{ExchangeProgress, ExportSettings, ExportSummary, ImportSettings, ImportSummary};
pub use error::{ErrorKind, Result, StoreError};
pub use format::activations::reader::ActivationReader;
pub use format::group_sums::{GroupSums, NormSums, PredictionSums};
pub use format::manifest::{Manifest, SiteRecord};
#[cfg(feature = "remote")]
pub use format::plan::plan_at;
pub use format::plan::{Plan, PlanReader, PlanShard, PlanWriter};
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
pub use fs::failpoints;
pub use half;
pub use hayloft_runtime::Dtype;
pub use read::cache::{Cache, Shard, ShardTokens};
#[cfg(feature = "remote")]
pub use read::inspect::inspect_at;
pub use read::inspect::{GroupSummary, SiteSummary, StatisticsSummary, Summary, inspect};
pub use read::site::{Activations, Row, RowGroups, Rows, Site};
pub use read::verify::{Damage, Progress, Report, verify};
#[cfg(feature = "remote")]
pub use remote::{
    Environment, LocalPath, Location, Moved, Place, PullSelection, Pulled, Pushed, RemoteOptions, ShardRange, Traffic,
    parse_bytes, pull, push,
};
#[cfg(feature = "cli")]
pub use remote::{PlaceParser, check_arguments};
#[cfg(feature = "workers")]
pub use workers::Sharing;
pub use write::cache_writer::CacheWriter;
pub use write::shard_queue::ShardQueue;
pub use write::shard_writer::ShardWriter;

/// The format version that this crate reads and writes.
pub const FORMAT_VERSION: u32 = 1;
