//! An open shard.

use hayloft_store::{ActivationReader, Cache, SiteName, StoreError};

use crate::rows::ShardRows;
use crate::stream::filter::RowFilter;

/// One site of a shard, with the filter's verdict on its rows.
#[derive(Debug)]
pub(super) struct OpenShard {
    reader: ActivationReader,
    /// First row of each row group, and the end of the last.
    bounds: Vec<usize>,
    /// `[rows]`: whether a row is kept.
    keeps: Vec<bool>,
}

impl OpenShard {
    pub(super) fn open(cache: &Cache, place: usize, site: &SiteName, filter: &RowFilter) -> Result<Self, StoreError> {
        let shard = cache.shard(place)?;
        let rows = ShardRows::of(&shard, site)?;
        let keeps =
            (0..rows.len()).map(|row| filter.trains_on(rows.sequences[row]) && filter.keeps(&rows, row)).collect();
        Ok(Self { reader: shard.activations(site)?, bounds: shard.row_group_bounds(), keeps })
    }

    /// The kept rows of a row group, as indices within it.
    pub(super) fn kept(&self, row_group: usize) -> Vec<u32> {
        let (first, end) = (self.bounds[row_group], self.bounds[row_group + 1]);
        (first..end).filter(|&row| self.keeps[row]).map(|row| (row - first) as u32).collect()
    }

    /// Reads and verifies a row group: `[rows, d_model]`, little-endian.
    pub(super) fn read(&self, row_group: usize, into: &mut Vec<u8>) -> Result<(), StoreError> {
        self.reader.read(row_group, into)
    }
}
