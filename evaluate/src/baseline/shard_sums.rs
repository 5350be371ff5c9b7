//! Traits of the sums stored per shard, and of their keys.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Sums over one shard: named integers and named lists of numbers.
pub(super) trait ShardSums: Clone {
    /// Names of the integers; the first is `shard`, the shard's number in the plan.
    const COUNTS: &'static [&'static str];
    /// Names of the lists.
    const LISTS: &'static [&'static str];
    /// The integers, in the order of their names.
    fn counts(&self) -> Vec<u64>;
    /// The lists, in the order of their names.
    fn lists(&self) -> Vec<Cow<'_, [f64]>>;
    /// The subset names that some of the lists are indexed by, in order; empty if no list is.
    fn subsets(&self) -> Vec<Option<&str>> {
        Vec::new()
    }
    /// Builds sums from these numbers and subsets; `None` if they are invalid.
    fn of(counts: &[u64], lists: Vec<Vec<f64>>, subsets: &[Option<String>]) -> Option<Self>;

    /// The shard's number in the plan.
    fn shard(&self) -> usize {
        // A plan's shards are numbered in memory.
        self.counts().first().map_or(usize::MAX, |&shard| shard as usize)
    }
}

/// Distinguishes baselines of one kind.
pub(super) trait Key: Serialize + DeserializeOwned + PartialEq + Clone {
    /// A unique name that is valid as a file name.
    fn file_stem(&self) -> String;
}
