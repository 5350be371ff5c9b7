//! A report on an experiment: several evaluations in tables, plots and one HTML page.
//!
//! ```text
//! experiment.toml ─► results.json, training.jsonl ─► checked against one another ─► rows ─► tables ─► Markdown, CSV, LaTeX
//!                                                                                   │          └──► page ◄── plots
//!                                                                                   └──► summary.json
//! ```

mod agreement;
mod delimited;
mod entry;
mod error;
mod experiment;
mod figures;
mod folder;
mod latex;
mod left_out;
mod load;
mod markdown;
mod numbers;
mod page;
mod provenance;
mod role;
mod rows;
mod tables;
mod text;

pub use self::error::ReportError;
pub use self::experiment::{Experiment, ResultsEntry, TrainingEntry};
pub use self::left_out::LeftOut;
pub use self::load::Report;
pub use self::role::{ModelRole, SaeRole};
pub use self::rows::{Row, Summary};
