//! Metrics: the sums behind them, the columns computed from sums, intervals, and result files. `RESULTS.md` describes
//! every field.
//!
//! ```text
//! rows ──► Sums (of a shard, a subset, a sequence) ──► Columns, Intervals ──► Results ──► table, JSON, CSV, Markdown
//! ```
//!
//! Every metric is computed from [`Sums`], which are kept per shard. [`Columns::of`] on merged sums gives the same bits
//! as an undivided run.

#![warn(missing_debug_implementations, unreachable_pub)]

mod bootstrap;
mod checks;
mod columns;
mod error;
mod histograms;
mod kl;
mod nan_as_null;

mod outlier_warning;
mod output;
mod results;
mod subsets;
mod sums;
mod training;

pub use bootstrap::{Bootstrap, Difference, DifferenceFigure, Interval, Intervals, Uncertain, uncertainty};
pub use checks::clean_check::CleanCheck;
pub use checks::clean_source::CleanSource;
pub use checks::compute_effect::{ComputeEffect, ComputeSample};
pub use checks::stored_rounding::StoredRounding;
pub use columns::{
    Better, BrokenDown, COLUMNS, Column, ColumnTable, ColumnValue, Columns, DependsOn, Digits, format_number,
};
pub use error::ResultsError;
pub use histograms::{
    BinSums, LatentCounts, LatentSummary, NORM_BINS, NormHistogram, POSITION_BINS, PositionCounts, PositionSums,
    first_position, position_bin,
};
pub use kl::method::KlMethod;
pub use kl::result::Kl;
pub use kl::sums::KlSums;
pub use outlier_warning::RowCounts;
pub use output::{Breakdown, EXPLAINED_VARIANCES, MetricsChoice, count};
pub use results::conventions::ResultConventions;
pub use results::model_weights::ModelWeights;
pub use results::sae_names::{is_plain, unique_names};
pub use results::{DEFINITIONS, ModelProvenance, Provenance, Results, SaeProvenance, SaeResult, ShardResult};
pub use subsets::by_subset::{BySubset, RowSubsets};
pub use subsets::figures::{SubsetFigures, SubsetSums, subset_figures};
pub use sums::row_terms::RowTerms;
pub use sums::sequence::{ResampledSums, SequenceSums, TERMS};
pub use sums::{Sums, total_loss};
pub use training::held_out::HeldOutFigures;
pub use training::record::TrainingRecord;
