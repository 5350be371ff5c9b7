//! How many rows there are to train on, before any is read.

use hayloft_store::{Cache, SiteName};

use super::filter::RowFilter;
use super::open_shard::Tables;
use crate::train::TrainError;

/// Row groups and kept rows of a cache.
#[derive(Debug, Clone)]
pub(in crate::train) struct Census {
    /// Row groups of each shard, in the manifest's order.
    pub(super) row_groups: Vec<usize>,
    /// Rows of each row group that the filter keeps, shard after shard.
    pub(super) kept: Vec<usize>,
}

impl Census {
    /// Looks at the tables of every shard, and at no activations.
    pub(in crate::train) fn take(cache: &Cache, site: &SiteName, filter: &RowFilter) -> Result<Self, TrainError> {
        let mut census = Self { row_groups: Vec::new(), kept: Vec::new() };
        for place in 0..cache.shards() {
            let tables = Tables::read(cache, place, site)?;
            census.row_groups.push(tables.row_groups());
            census.kept.extend((0..tables.row_groups()).map(|row_group| tables.kept(row_group, filter).len()));
        }
        Ok(census)
    }

    /// Rows that the filter keeps: what an epoch goes through.
    pub(in crate::train) fn rows(&self) -> usize {
        self.kept.iter().sum()
    }
}
