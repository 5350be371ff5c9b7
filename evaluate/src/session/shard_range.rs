//! The shards that a run processes: all of the cache's, or those of one part.

use std::ops::Range;

use hayloft_runtime::Part;
use hayloft_store::Cache;

/// The shards of a run, by their indices in the cache's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShardRange {
    /// `None` for a run over the whole cache.
    pub(crate) part: Option<Part>,
    pub(crate) places: Range<usize>,
}

impl ShardRange {
    /// A part's range of a cache, or the whole cache.
    pub(crate) fn of(part: Option<Part>, cache: &Cache) -> Self {
        let all = cache.shards();
        Self { part, places: part.map_or(0..all, |part| part.range(all)) }
    }

    /// Whether the range has the cache's first shard, on which lossy codecs and lower precisions are measured.
    pub(crate) fn has_first(&self) -> bool {
        self.places.contains(&0)
    }

    pub(crate) fn tokens(&self, cache: &Cache) -> u64 {
        let shards = cache.manifest().shards.get(self.places.clone()).unwrap_or_default();
        shards.iter().map(|shard| shard.counts.tokens).sum()
    }

    /// Numbers of the shards in the plan.
    pub(crate) fn numbers(&self, cache: &Cache) -> Vec<usize> {
        let shards = cache.manifest().shards.get(self.places.clone()).unwrap_or_default();
        shards.iter().map(|shard| shard.index).collect()
    }
}
