//! Sums of a run per shard, sequence, subset and position, and the effects of low precision and rounding on them.

pub(crate) mod batch_sums;
pub(crate) mod compute_effect;
pub(crate) mod kl;
pub(crate) mod pass;
pub(crate) mod stored_rounding;
pub(crate) mod subsets;
