//! What the SAE that is trained would be if it were saved.

pub(crate) mod held_out;
pub(crate) mod threshold;
