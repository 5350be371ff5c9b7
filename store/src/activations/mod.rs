//! Activation files: one site's activations over one shard.

mod decoding;
mod footer;
pub(crate) mod layout;
pub(crate) mod pages;
pub mod reader;
pub(crate) mod writer;
