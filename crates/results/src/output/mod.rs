//! Output of results: tables for reading, files for programs.

mod breakdown;
mod delimited;
mod details;
mod folder;
mod intervals;
mod markdown;
mod metrics;
mod table;

pub use self::breakdown::Breakdown;
pub use self::metrics::MetricsChoice;
pub use self::table::{EXPLAINED_VARIANCES, RULED, count, ruled};
