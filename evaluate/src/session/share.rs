//! The shards that a run goes over: all of the cache's, or those of one part.

use std::ops::Range;

use hayloft_runtime::Part;
use hayloft_store::Cache;

/// The shards of a run, by their places in the cache's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Share {
    /// `None` for a run over the whole cache.
    pub(crate) part: Option<Part>,
    pub(crate) places: Range<usize>,
}

impl Share {
    /// A part's share of a cache, or all of it.
    pub(crate) fn of(part: Option<Part>, cache: &Cache) -> Self {
        let all = cache.shards();
        Self { part, places: part.map_or(0..all, |part| part.range(all)) }
    }

    /// Whether the cache's first shard is in it, with which the cache and lower precisions are tried.
    pub(crate) fn has_first(&self) -> bool {
        self.places.contains(&0)
    }

    /// The tokens of its shards.
    pub(crate) fn tokens(&self, cache: &Cache) -> u64 {
        let shards = cache.manifest().shards.get(self.places.clone()).unwrap_or_default();
        shards.iter().map(|shard| shard.counts.tokens).sum()
    }

    /// The numbers of its shards in the plan.
    pub(crate) fn numbers(&self, cache: &Cache) -> Vec<usize> {
        let shards = cache.manifest().shards.get(self.places.clone()).unwrap_or_default();
        shards.iter().map(|shard| shard.index).collect()
    }
}
