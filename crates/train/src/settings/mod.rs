//! What a training is asked for.

pub(crate) mod architecture;
pub(crate) mod course;
