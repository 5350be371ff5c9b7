//! An infinite stream of kept rows over all epochs.

use std::collections::BTreeMap;

use hayloft_store::{Cache, SiteName};
use serde::{Deserialize, Serialize};

use super::census::Census;
use super::filter::RowFilter;
use super::mixing_buffer::Origin;
use super::open_shard::OpenShard;
use super::reading_order::{RowGroupIndex, reading_order};
use crate::error::TrainError;

/// The position of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// The epoch, from 0.
    epoch: u64,
    /// Consumed row groups of the epoch.
    row_groups: usize,
    /// Consumed kept rows of the current row group.
    rows: usize,
}

/// Reads row groups in the order of each epoch and yields the kept rows.
#[derive(Debug)]
pub(super) struct RowStream<'cache> {
    cache: &'cache Cache,
    site: &'cache SiteName,
    filter: RowFilter,
    census: Census,
    /// Cache-wide index of each shard's first row group.
    first_row_groups: Vec<usize>,
    seed: u64,
    row_bytes: usize,
    position: Position,
    /// The row groups of the current epoch, in order.
    order: Vec<RowGroupIndex>,
    /// Kept rows of the current row group; empty until it is read.
    kept: Vec<u32>,
    /// The current row group, `[rows, d_model]`.
    bytes: Vec<u8>,
    open: BTreeMap<usize, OpenShard>,
}

impl<'cache> RowStream<'cache> {
    /// Creates a stream at a position. At least one row must be kept, otherwise `Self::next` does not terminate.
    pub(super) fn at(
        position: Position,
        (cache, site): (&'cache Cache, &'cache SiteName),
        (filter, census): (RowFilter, Census),
        (seed, row_bytes): (u64, usize),
    ) -> Self {
        let mut row_groups = 0;
        let first_row_groups = census.row_groups.iter().map(|&count| {
            row_groups += count;
            row_groups - count
        });
        Self {
            first_row_groups: first_row_groups.collect(),
            order: reading_order(&census.row_groups, seed, position.epoch),
            cache,
            site,
            filter,
            census,
            seed,
            row_bytes,
            position,
            kept: Vec::new(),
            bytes: Vec::new(),
            open: BTreeMap::new(),
        }
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// Returns the next kept row.
    pub(super) fn next(&mut self) -> Result<(&[u8], Origin), TrainError> {
        loop {
            if let Some(&group) = self.order.get(self.position.row_groups) {
                let number = self.number(group);
                if self.position.rows < self.census.kept[number] {
                    if self.kept.is_empty() {
                        self.load(group)?;
                    }
                    let row = self.kept[self.position.rows];
                    self.position.rows += 1;
                    let start = row as usize * self.row_bytes;
                    let origin = Origin { row_group: number as u32, row };
                    return Ok((&self.bytes[start..start + self.row_bytes], origin));
                }
                self.leave(group);
            } else {
                self.position = Position { epoch: self.position.epoch + 1, ..Position::default() };
                self.order = reading_order(&self.census.row_groups, self.seed, self.position.epoch);
            }
        }
    }

    /// Reads a whole row group out of order.
    pub(super) fn read(&mut self, number: u32, into: &mut Vec<u8>) -> Result<(), TrainError> {
        let place = self.first_row_groups.partition_point(|&first| first <= number as usize) - 1;
        let group = RowGroupIndex { place, row_group: number as usize - self.first_row_groups[place] };
        let shard = OpenShard::open(self.cache, place, self.site, &self.filter)?;
        shard.read(group.row_group, into)
    }

    /// Cache-wide index of a row group.
    fn number(&self, group: RowGroupIndex) -> usize {
        self.first_row_groups[group.place] + group.row_group
    }

    fn load(&mut self, group: RowGroupIndex) -> Result<(), TrainError> {
        if !self.open.contains_key(&group.place) {
            self.open.insert(group.place, OpenShard::open(self.cache, group.place, self.site, &self.filter)?);
        }
        let shard = &self.open[&group.place];
        shard.read(group.row_group, &mut self.bytes)?;
        self.kept = shard.kept(group.row_group);
        Ok(())
    }

    /// Advances to the next row group, and closes the shard after its last.
    fn leave(&mut self, group: RowGroupIndex) {
        self.position.row_groups += 1;
        self.position.rows = 0;
        self.kept.clear();
        if group.row_group + 1 == self.census.row_groups[group.place] {
            self.open.remove(&group.place);
        }
    }
}
