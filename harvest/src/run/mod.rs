//! From planned shards to activations.

mod forward;
mod harvest;
mod logits;
mod pipeline;
mod shard_range;
mod site_pattern;
mod steps;
mod writing;

pub use harvest::{RunSettings, run, run_profiled};
pub use logits::Logits;
pub use shard_range::ShardRange;
pub use site_pattern::SitePattern;
