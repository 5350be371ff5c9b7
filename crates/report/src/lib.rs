//! Reports of many evaluations: tables, plots, a page for a browser, and comparisons with expected figures. It reads results files, and
//! neither caches nor models.
//!
//! ```text
//! results.json, training.jsonl ── an experiment names their roles ──► Report ──► tables, plots, page
//!                              └─ expected figures, tolerances ─────► Comparison
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
