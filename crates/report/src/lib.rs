//! Reports on several evaluations: tables, plots, an HTML page, and comparisons with expected values. Reads result
//! files, never caches or models.
//!
//! ```text
//! results.json, training.jsonl ── an experiment names their roles ──► Report ──► tables, plots, page
//!                              └─ expected metrics, tolerances ─────► Comparison
//! ```

mod compare;
mod plot;
mod report;

pub use compare::{
    Cell, CompareError, Comparison, Record, Tolerance, Tolerances, Verdict, compare, read_expected, read_results,
};
pub use plot::training_curves;
pub use report::{
    Experiment, LeftOut, ModelRole, Report, ReportError, ResultsEntry, Row, SaeRole, Summary, TrainingEntry,
};
