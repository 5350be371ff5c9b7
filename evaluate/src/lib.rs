//! Evaluates sparse autoencoders (SAEs) against a cache of activations, by putting their reconstructions back into the
//! model.
//!
//! ```text
//! cache ─► row group, read ahead ─► x = c · residual ─► SAE ─► r ─► sums: L0, error, explained variance
//!                 │                                             │
//!                 └──────────────► residual, r/c put back ◄─────┘
//!                                             │
//!                           block ─► … ─► block ─► losses at the positions that count
//! ```
//!
//! [`run`] is the whole of it; [`Results`] can be printed and written in several forms. [`Sae`] is useful by itself:
//! whatever its file's format and architecture, it is one normalised form with one forward pass.
//!
//! Every figure is computed from [`Sums`], which are kept for each shard; [`Columns::of`] turns merged sums into figures
//! with the bits that an undivided run has. [`run_part`] measures some shards, and [`merge`] makes of all parts what [`run`] gives.

mod baseline;
mod batch;
mod bootstrap;
mod by_subset;
mod candidate;
mod clean_check;
mod columns;
mod compare;
mod compute_effect;
mod conventions;
mod error;
mod exclusion;
#[doc(hidden)]
pub mod fuzzing;
mod host;
mod kept_norms;
mod kl;
mod measure;
mod measures;
mod model_weights;
mod names;
mod numbers;
mod outlier_warning;
mod outliers;
mod output;
mod partial;
mod pass;
mod plot;
mod prepared;
mod protocol;
mod ranked;
mod reading;
mod report;
mod results;
mod rows;
mod run;
mod sae;
mod sae_scale;
mod scale;
mod section_choice;
mod settings;
mod share;
mod shared_tensor;
mod source;
mod splice_point;
mod stored_rounding;
mod subject;
mod subsets;
mod sums;
mod tally;
mod tensor_bytes;
mod terms;
mod together;
pub mod train;
mod trained_on;
mod training_origin;
mod undefined;
mod upper_half;
mod write;

pub use baseline::CleanSource;
pub use bootstrap::{Bootstrap, Difference, DifferenceFigure, Interval, Intervals};
pub use clean_check::CleanCheck;
pub use columns::Columns;
pub use compare::{
    Cell, CompareError, Comparison, Record, Tolerance, Tolerances, Verdict, compare, read_expected, read_results,
};
pub use compute_effect::ComputeEffect;
pub use conventions::ResultConventions;
pub use error::EvaluateError;
pub use exclusion::ExcludeChoice;
pub use kl::{Kl, KlChoice, KlSums, KlWay};
pub use measures::{
    BinSums, LatentCounts, LatentSummary, NormHistogram, POSITION_BINS, PositionCounts, PositionSums, first_position,
};
pub use model_weights::{ModelWeights, WeightsChoice};
pub use outliers::{MedianRule, OutlierNorm, OutlierThreshold};
pub use output::{Breakdown, MetricsChoice};
pub use partial::{Mismatch, PartialError, PartialResults, merge};
pub use plot::training_curves;
pub use prepared::PreparedBaselines;
pub use report::{
    Experiment, LeftOut, ModelRole, Report, ReportError, ResultsEntry, Row, SaeRole, Summary, TrainingEntry,
};
pub use results::{Provenance, Results, SaeProvenance, SaeResult, ShardResult};
pub use rows::RowChoice;
pub use run::{prepare_baselines, run, run_part, run_part_profiled, run_profiled};
pub use sae::{
    Conventions, Encoded, Normalisation, PositionSlice, Reconstruction, Sae, SaeError, SaeFile, SaeFileHash, SaeFormat,
    SaeInspection, Spread, WithoutTokens, convert,
};
pub use scale::{Scale, ScaleChoice, ScaleSource};
pub use section_choice::SectionChoice;
pub use settings::{RunSettings, Splice};
pub use stored_rounding::StoredRounding;
pub use subsets::{SubsetColumns, SubsetFigures};
pub use sums::Sums;
pub use train::{HeldOutFigures, TrainingRecord};
pub use training_origin::{TrainedRows, TrainingOrigin};
