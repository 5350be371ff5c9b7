//! What a run checks and measures beside its figures, so that one knows what they are worth.

pub(crate) mod clean_check;
pub(crate) mod clean_source;
pub(crate) mod compute_effect;
pub(crate) mod stored_rounding;
