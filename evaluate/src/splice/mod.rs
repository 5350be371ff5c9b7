//! SAEs put in place: what each makes of a batch, and what the upper model predicts from there.

pub(crate) mod joint;
pub(crate) mod outcome;
pub(crate) mod predictions;
pub(crate) mod sae_runner;
pub(crate) mod upper_model;
