//! Shards that two workers both filled.

use crate::format::shard_record::WrittenShard;

/// Logs whether another worker's copy of a shard differs from this one's. Processors and libraries may round differently.
pub(crate) fn tell_of_difference(own: &WrittenShard, there: &WrittenShard) {
    let shard = own.index();
    if own.contents.files == there.contents.files {
        tracing::info!(shard, "another worker was first with this shard, so that this one's is dropped");
    } else {
        tracing::warn!(
            shard,
            "another worker was first with this shard, and got other bytes: workers on different hardware round differently. Its shard is kept"
        );
    }
}
