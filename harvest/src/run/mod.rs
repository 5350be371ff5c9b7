//! Fills planned shards with activations.

mod forward;
mod harvest;
mod logits;
mod open_cache;
mod pipeline;
mod settings;
mod shard_range;
mod site_pattern;
mod steps;
mod writing;

pub use harvest::{run, run_profiled};
pub use logits::Logits;
pub(crate) use settings::device_name;
pub use settings::{RunSettings, ShareSettings};
pub use shard_range::ShardRange;
pub use site_pattern::SitePattern;
