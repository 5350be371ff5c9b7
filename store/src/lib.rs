#![doc = include_str!("../FORMAT.md")]

mod activations;
mod cache;
mod cache_writer;
pub mod care;
mod codec;
mod dtype;
mod error;
pub mod exchange;
mod files;
#[doc(hidden)]
pub mod fuzzing;
mod group_sums;
mod inspect;
#[doc(hidden)]
pub mod kernels;
mod known_shards;
mod manifest;
mod narrowing;
mod plan;
mod records;
mod remote;
mod section;
mod settings;
mod shard_contents;
mod shard_writer;
mod sharing;
mod simd;
mod site_name;
mod statistics;
mod tables;
#[doc(hidden)]
pub mod untrusted_parquet;
mod verify;

// So that the tests inside the crate can share what those outside of it use.
#[cfg(test)]
extern crate self as hayloft_store;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;

pub use activations::reader::ActivationReader;
pub use cache::{Cache, Shard, ShardTokens};
pub use cache_writer::CacheWriter;
pub use codec::int8::RoundingError;
pub use codec::{Codec, CompressionLevel};
pub use dtype::Dtype;
pub use error::{Result, StoreError};
pub use exchange::{ExchangeProgress, ExportSettings, ExportSummary, ImportSettings, ImportSummary};
#[cfg(feature = "failpoints")]
#[doc(hidden)]
pub use files::failpoints;
pub use group_sums::{GroupSums, NormSums, PredictionSums};
pub use inspect::{GroupSummary, SiteSummary, StatisticsSummary, Summary, inspect, inspect_at};
pub use manifest::{Manifest, ShardRecord, SiteRecord};
pub use plan::{Plan, PlanReader, PlanShard, PlanWriter, plan_at};
pub use records::{
    ChatRecord, Corpus, Counts, DataRecord, FileRecord, KeptPredictions, ModelRecord, Packing, SelectedFrom,
    SelectionRecord, TokenizerRecord,
};
#[doc(hidden)]
pub use remote::check_arguments;
pub use remote::{
    Environment, LocalPath, Location, Moved, Place, PullSelection, Pulled, Pushed, RemoteOptions, ShardRange, Traffic,
    parse_bytes, pull, push,
};
pub use section::Section;
pub use settings::{Existing, HarvestSettings, NonFinite};
pub use shard_contents::{ShardContents, ShardLogits, ShardSite, WrittenShard};
pub use shard_writer::ShardWriter;
pub use sharing::{Sharing, Turns};
pub use site_name::SiteName;
pub use statistics::ActivationSums;
pub use tables::predictions::Predictions;
pub use tables::sequences::{Sequence, row_group_rows};
pub use tables::tokens::Tokens;
pub use verify::{Damage, Progress, Report, verify};

/// The version of the format that this crate reads and writes.
pub const FORMAT_VERSION: u32 = 2;
