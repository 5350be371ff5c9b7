//! What is kept of a shard, and by which key.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Sums over one shard: whole numbers and lists of numbers, each with a name.
pub(super) trait ShardSums: Clone {
    /// The names of the whole numbers; the first is `shard`, its number in the plan.
    const COUNTS: &'static [&'static str];
    /// The names of the lists.
    const LISTS: &'static [&'static str];
    /// The whole numbers, in the order of their names.
    fn counts(&self) -> Vec<u64>;
    /// The lists, in the order of their names.
    fn lists(&self) -> Vec<Cow<'_, [f64]>>;
    /// The names of the subsets that some of the lists are by, in their order; none where no list is.
    fn subsets(&self) -> Vec<Option<&str>> {
        Vec::new()
    }
    /// The sums that have these numbers, by these subsets; `None` where none can.
    fn of(counts: &[u64], lists: Vec<Vec<f64>>, subsets: &[Option<String>]) -> Option<Self>;

    /// The shard's number in the plan.
    fn shard(&self) -> usize {
        // A plan's shards are numbered in memory.
        self.counts().first().map_or(usize::MAX, |&shard| shard as usize)
    }
}

/// What tells baselines of one kind apart.
pub(super) trait Key: Serialize + DeserializeOwned + PartialEq + Clone {
    /// A name of its own, fit for a file.
    fn file_stem(&self) -> String;
}
