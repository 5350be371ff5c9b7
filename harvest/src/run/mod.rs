//! From planned shards to activations.

mod forward;
mod harvest;
mod logits;
mod pipeline;
mod shard_range;
mod share;
mod site_pattern;
mod steps;
mod writing;

pub use harvest::{RunSettings, run, run_profiled};
pub(crate) use harvest::{prepare, summary};
pub use logits::Logits;
pub(crate) use pipeline::Filled;
pub use shard_range::ShardRange;
pub use share::Share;
pub(crate) use share::{asked_shards, open};
pub use site_pattern::SitePattern;
