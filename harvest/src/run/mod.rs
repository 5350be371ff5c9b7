//! From planned shards to activations.

mod forward;
mod harvest;
mod logits;
mod pipeline;
mod shard_range;
mod writing;

pub use harvest::{RunSettings, run};
pub use logits::Logits;
pub use shard_range::ShardRange;
