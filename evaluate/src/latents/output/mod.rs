//! Writes the two files.

pub(super) mod contexts;
pub(super) mod files;
