//! Metrics of each subset of the corpus.

pub(crate) mod by_subset;
pub(crate) mod figures;
