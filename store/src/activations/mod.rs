//! Activation files: one site's activations over one shard.

pub(crate) mod footer;
pub(crate) mod layout;
mod merging;
pub(crate) mod pages;
pub mod reader;
pub(crate) mod writer;
