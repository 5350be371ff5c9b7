//! Settings of a training.

pub(crate) mod architecture;
pub(crate) mod course;
