//! The inputs of a run: settings, cache and model, splice site, scales, conventions.

pub(crate) mod clean_check;
pub(crate) mod context;
pub(crate) mod median;
pub(crate) mod protocol;
pub(crate) mod run_saes;
pub(crate) mod scale;
pub(crate) mod settings;
pub(crate) mod shard_range;
pub(crate) mod splice_site;
pub(crate) mod training_remarks;
pub(crate) mod weights;
