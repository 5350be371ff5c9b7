//! The training step: gradients, Adam, schedules and dead latents.

pub(crate) mod adam;
pub(crate) mod firing;
pub(crate) mod schedule;
pub(crate) mod trainer;
