//! From planned shards to activations.

mod forward;
mod harvest;
mod logits;
mod pipeline;
mod shard_range;
mod steps;
mod writing;

pub use harvest::{RunSettings, run, run_profiled};
pub use logits::Logits;
pub use shard_range::ShardRange;
