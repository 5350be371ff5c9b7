//! Results for people and for programs.

mod delimited;
mod details;
mod folder;
mod markdown;
mod metrics;
mod table;

pub use self::metrics::MetricsChoice;
pub(crate) use self::table::RULED;
