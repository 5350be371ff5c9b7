//! Writing a cache.

pub(crate) mod cache_writer;
pub(crate) mod core;
pub(crate) mod grouping;
pub(crate) mod known_shards;
pub(crate) mod mode;
pub(crate) mod planning;
pub(crate) mod shard_queue;
pub(crate) mod shard_writer;
