//! Metrics of the current SAE in the form in which it would be saved.

pub(crate) mod held_out;
pub(crate) mod threshold;
