//! Output of results: tables for reading, files for programs.

mod breakdown;
mod csv;
mod folder;
mod grid;
mod markdown;
mod metrics_choice;
mod printed;
mod remarks;
mod table;
#[cfg(test)]
mod tests;

pub use self::breakdown::Breakdown;
pub use self::grid::{RULED, count, ruled};
pub use self::metrics_choice::MetricsChoice;
pub use self::remarks::EXPLAINED_VARIANCES;
