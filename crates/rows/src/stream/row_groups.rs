//! Counts kept rows from the tables, without reading activations.

use hayloft_store::{Cache, SiteName, StoreError};

use crate::rows::ShardRows;
use crate::stream::filter::RowFilter;

/// Row groups of a cache, and how many of their rows a filter keeps.
#[derive(Debug, Clone, Default)]
pub struct KeptRows {
    /// Number of row groups of each shard, in the manifest's order.
    pub row_groups: Vec<usize>,
    /// Number of rows of each row group, over all shards in order.
    pub rows: Vec<usize>,
    /// Number of kept rows of each row group.
    pub kept: Vec<usize>,
}

impl KeptRows {
    /// Counts the rows that `filter` keeps. Reads the tables of every shard, but no activations.
    pub fn count(cache: &Cache, site: &SiteName, filter: &RowFilter) -> Result<Self, StoreError> {
        let mut counted = Self::default();
        for place in 0..cache.shards() {
            counted.add_shard(cache, place, site, filter)?;
        }
        Ok(counted)
    }

    /// Counts the rows of one more shard, the next in the manifest's order.
    pub fn add_shard(
        &mut self,
        cache: &Cache,
        place: usize,
        site: &SiteName,
        filter: &RowFilter,
    ) -> Result<(), StoreError> {
        let shard = cache.shard(place)?;
        let (bounds, rows) = (shard.row_group_bounds(), ShardRows::of(&shard, site)?);
        self.row_groups.push(bounds.len() - 1);
        for group in bounds.windows(2) {
            let keeps = |row: &usize| filter.trains_on(rows.sequences[*row]) && filter.keeps(&rows, *row);
            self.rows.push(group[1] - group[0]);
            self.kept.push((group[0]..group[1]).filter(keeps).count());
        }
        Ok(())
    }

    /// Number of the first row of each row group; rows are numbered in the order of the cache.
    pub fn first_rows(&self) -> Vec<u64> {
        let mut next = 0;
        let first = |rows: &usize| {
            next += *rows as u64;
            next - *rows as u64
        };
        self.rows.iter().map(first).collect()
    }

    /// Number of kept rows.
    pub fn rows(&self) -> usize {
        self.kept.iter().sum()
    }
}
