//! Statistics of each latent of a sparse autoencoder (SAE), from lists of active latents.
//!
//! ```text
//! batch: rows ──► section, subset, turn, sequence ─┐
//!        active latents, a range at a time ────────┴─► Statistics ──► PartialStatistics ─┬─► SaeLatents ──► latents.parquet
//!                                                                        of other parts ─┘        └───────► examples.parquet
//! ```
//!
//! [`LatentsReader`] and [`ExamplesReader`] read the files again, row by row, as files of strangers.
//!
//! Threads add batches to one [`Statistics`] at once. Counts are integers, sums are exact, and examples are chosen by total
//! orders, so the outcome depends neither on the order of the batches nor on how the rows are divided into batches.

#![warn(missing_debug_implementations, unreachable_pub)]

mod batch;
mod cofiring;
mod error;
mod exact_sum;
mod examples;
mod files;
mod groups;
mod histogram;
mod priority;
mod settings;
mod statistics;

pub use batch::{BatchRows, RowLabels};
pub use cofiring::{CoFiring, CoFiringTokens, EXACT_WIDTH};
pub use error::LatentsError;
pub use exact_sum::ExactSum;
pub use examples::{Activation, Example};
pub use files::example_rows::{ExampleRecord, ExamplesReader};
pub use files::examples::{Context, ExampleKind, ExampleRow, ExamplesFile};
pub use files::latent_rows::{Ablation, GroupRecord, LatentRecord, LatentRecords, LatentsReader, LogitEffect, SaeRows};
pub use files::latents::{
    AblationSums, Additions, EXAMPLES, LATENTS, LatentsFile, LogitTokens, OptionalColumns, QUANTILES,
};
pub use files::table::WholeFile;
pub use groups::{Group, GroupNumbers};
pub use histogram::{Bin, Histogram};
pub use priority::Priorities;
pub use settings::StatisticsSettings;
pub use statistics::{BatchStatistics, GroupTokens, Latent, PartialStatistics, SaeLatents, Statistics};
