//! Records of the training log.

pub(crate) mod held_out;
pub(crate) mod record;
