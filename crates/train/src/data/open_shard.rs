//! An open shard.

use hayloft_rows::ShardRows;
use hayloft_store::{ActivationReader, Cache, Shard, SiteName, row_group_rows};

use super::filter::RowFilter;
use crate::error::TrainError;

/// One site of a shard, with the filter's verdict on its rows.
#[derive(Debug)]
pub(super) struct OpenShard {
    reader: ActivationReader,
    /// First row of each row group, and the end of the last.
    bounds: Vec<usize>,
    /// `[rows]`: whether a row is trained on.
    keeps: Vec<bool>,
}

/// First row of each row group of a shard, and the end of the last.
pub(super) fn row_group_bounds(shard: &Shard) -> Vec<usize> {
    let mut bounds = vec![0];
    for rows in row_group_rows(shard.sequences()) {
        bounds.push(bounds[bounds.len() - 1] + rows as usize);
    }
    bounds
}

impl OpenShard {
    pub(super) fn open(cache: &Cache, place: usize, site: &SiteName, filter: &RowFilter) -> Result<Self, TrainError> {
        let shard = cache.shard(place)?;
        let rows = ShardRows::of(&shard, site)?;
        let keeps =
            (0..rows.len()).map(|row| filter.trains_on(rows.sequences[row]) && filter.keeps(&rows, row)).collect();
        Ok(Self { reader: shard.activations(site)?, bounds: row_group_bounds(&shard), keeps })
    }

    /// The kept rows of a row group, as indices within it.
    pub(super) fn kept(&self, row_group: usize) -> Vec<u32> {
        let (first, end) = (self.bounds[row_group], self.bounds[row_group + 1]);
        (first..end).filter(|&row| self.keeps[row]).map(|row| (row - first) as u32).collect()
    }

    /// Reads and verifies a row group: `[rows, d_model]`, little-endian.
    pub(super) fn read(&self, row_group: usize, into: &mut Vec<u8>) -> Result<(), TrainError> {
        Ok(self.reader.read(row_group, into)?)
    }
}
