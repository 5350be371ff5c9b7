//! Reports on several evaluations: tables, plots, an HTML page, and comparisons with expected values. Reads result
//! files, never caches or models.
//!
//! ```text
//! results.json, training.jsonl ── an experiment names them        ──► Report ──► summary.json
//!                              │                                             ├─► tables: text, CSV, Markdown, LaTeX
//!                              │                                             └─► page ◄── figures: SVG, PDF
//!                              └─ expected metrics, tolerances ─────► Comparison
//! ```

mod compare;
mod error;
mod experiment;
mod figures;
mod page;
mod plot;
mod tables;

pub use compare::{
    Cell, CompareError, Comparison, Record, Tolerance, Tolerances, Verdict, compare, read_expected, read_results,
};
pub use error::ReportError;
pub use experiment::file::{Experiment, Preset, ResultsEntry, TrainingEntry};
pub use experiment::left_out::LeftOut;
pub use experiment::open::Report;
pub use experiment::saes::SaeNames;
pub use experiment::sort::SortBy;
pub use plot::training_curves;
pub use tables::summary::{Row, RowLatents, Summary};
