//! Sums of a run: per shard, sequence, subset and position, and what lower precision and rounding do to them.

pub(crate) mod batch_sums;
pub(crate) mod compute_effect;
pub(crate) mod kl;
pub(crate) mod pass;
pub(crate) mod stored_rounding;
pub(crate) mod subsets;
