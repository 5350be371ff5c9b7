//! What a report is over: an experiment's file, which gives results their roles, and the results themselves, checked
//! against one another.

mod agreement;
pub(crate) mod entry;
pub(crate) mod file;
pub(crate) mod left_out;
pub(crate) mod open;
pub(crate) mod role;
