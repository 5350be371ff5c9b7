//! Batches of a cache, for splicing.

pub(crate) mod batch;
pub(crate) mod reader;
