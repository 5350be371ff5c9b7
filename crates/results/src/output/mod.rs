//! Output of results: tables for reading, files for programs.

mod breakdown;
mod csv;
mod folder;
mod markdown;
mod metrics_choice;
mod printed;
mod remarks;
mod table;
#[cfg(test)]
mod tests;

pub use self::breakdown::Breakdown;
pub use self::metrics_choice::MetricsChoice;
pub use self::printed::count;
pub use self::remarks::EXPLAINED_VARIANCES;
