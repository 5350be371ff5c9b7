//! Shards that two workers filled.

use crate::format::shard_record::WrittenShard;

/// Says so where a shard that another worker made is not the same: their processors, or their libraries, compute differently.
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
