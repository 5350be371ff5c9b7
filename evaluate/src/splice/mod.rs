//! Splicing SAEs: their outcomes on a batch, and the upper model's predictions from there.

pub(crate) mod joint;
pub(crate) mod outcome;
pub(crate) mod predictions;
pub(crate) mod sae_runner;
pub(crate) mod upper_model;
