//! Activation files: one site's activations over one shard.

mod decoding;
pub(crate) mod footer;
pub(crate) mod layout;
pub(crate) mod reader;
pub(crate) mod writer;
