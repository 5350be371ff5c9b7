//! What training measures, as its log has it.

pub(crate) mod held_out;
pub(crate) mod record;
