//! An experiment: the results of a report, and their names.

pub(crate) mod agreement;
pub(crate) mod entry;
pub(crate) mod file;
pub(crate) mod left_out;
pub(crate) mod name;
pub(crate) mod open;
pub(crate) mod saes;
pub(crate) mod sort;
pub(crate) mod study;
