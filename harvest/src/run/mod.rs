//! Fills planned shards with activations.

mod forward;
mod harvest;
mod logits;
mod pipeline;
mod settings;
mod shard_range;
mod share;
mod site_pattern;
mod steps;
mod writing;

pub(crate) use harvest::{prepare, summary};
pub use harvest::{run, run_profiled};
pub use logits::Logits;
pub(crate) use pipeline::Filled;
pub use settings::{RunSettings, Share};
pub use shard_range::ShardRange;
pub(crate) use share::{asked_shards, open};
pub use site_pattern::SitePattern;
