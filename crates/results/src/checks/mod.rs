//! Checks and measurements that qualify the metrics.

pub(crate) mod clean_check;
pub(crate) mod clean_source;
pub(crate) mod compute_effect;
pub(crate) mod stored_rounding;
