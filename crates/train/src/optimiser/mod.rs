//! One step: gradients, Adam, the learning rate, and which latents have fired.

pub(crate) mod adam;
pub(crate) mod firing;
pub(crate) mod schedule;
pub(crate) mod trainer;
