//! A stream of kept rows over the epochs of a reading.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use hayloft_store::{Cache, SiteName, StoreError};
use serde::{Deserialize, Serialize};

use crate::stream::filter::RowFilter;
use crate::stream::open_shard::OpenShard;
use crate::stream::reading::{Reading, first_row_groups};
use crate::stream::reading_order::RowGroupIndex;
use crate::stream::row_groups::KeptRows;
use crate::stream::row_run::RowRun;

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
pub(super) struct RowStream<C> {
    cache: C,
    site: SiteName,
    filter: RowFilter,
    kept_rows: KeptRows,
    first_row_groups: Vec<usize>,
    reading: Reading,
    row_bytes: usize,
    position: Position,
    /// The row groups of the current epoch, in order.
    order: Vec<RowGroupIndex>,
    /// For each shard the index in `order` of its last row group.
    last_of_shard: BTreeMap<usize, usize>,
    /// Kept rows of the current row group; empty until it is read.
    kept: Vec<u32>,
    /// The current row group, `[rows, d_model]`.
    bytes: Vec<u8>,
    open: BTreeMap<usize, OpenShard>,
}

impl<C: Borrow<Cache>> RowStream<C> {
    /// Creates a stream at a position. If the reading is endless, the stream must have at least one row, otherwise
    /// `Self::next` does not terminate.
    pub(super) fn at(
        position: Position,
        (cache, site): (C, &SiteName),
        (filter, kept_rows): (RowFilter, KeptRows),
        (reading, row_bytes): (Reading, usize),
    ) -> Self {
        let mut stream = Self {
            cache,
            site: site.clone(),
            filter,
            first_row_groups: first_row_groups(&kept_rows.row_groups),
            kept_rows,
            reading,
            row_bytes,
            position,
            order: Vec::new(),
            last_of_shard: BTreeMap::new(),
            kept: Vec::new(),
            bytes: Vec::new(),
            open: BTreeMap::new(),
        };
        stream.begin_epoch();
        stream
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    fn begin_epoch(&mut self) {
        self.order = self.reading.order(&self.kept_rows.row_groups, self.position.epoch);
        self.last_of_shard = self.order.iter().enumerate().map(|(index, group)| (group.place, index)).collect();
    }

    /// Returns the next kept rows: at least one, at most `limit`, which is positive, all of one row group. `None` after the
    /// last epoch.
    pub(super) fn next(&mut self, limit: usize) -> Result<Option<RowRun<'_>>, StoreError> {
        loop {
            if self.reading.epochs.is_some_and(|epochs| self.position.epoch >= epochs) {
                return Ok(None);
            }
            if let Some(&group) = self.order.get(self.position.row_groups) {
                let number = self.number(group);
                let first = self.position.rows;
                if first < self.kept_rows.kept[number] {
                    if self.kept.is_empty() {
                        self.load(group)?;
                    }
                    let end = self.kept.len().min(first.saturating_add(limit));
                    self.position.rows = end;
                    let rows = &self.kept[first..end];
                    return Ok(Some(RowRun::new(number as u32, rows, &self.bytes, self.row_bytes)));
                }
                self.leave(group);
            } else {
                self.position = Position { epoch: self.position.epoch + 1, ..Position::default() };
                self.begin_epoch();
            }
        }
    }

    /// Reads a whole row group out of order.
    pub(super) fn read(&mut self, number: u32, into: &mut Vec<u8>) -> Result<(), StoreError> {
        let place = self.first_row_groups.partition_point(|&first| first <= number as usize) - 1;
        let group = RowGroupIndex { place, row_group: number as usize - self.first_row_groups[place] };
        let shard = OpenShard::open(self.cache.borrow(), place, &self.site, &self.filter)?;
        shard.read(group.row_group, into)
    }

    /// Cache-wide index of a row group.
    fn number(&self, group: RowGroupIndex) -> usize {
        self.first_row_groups[group.place] + group.row_group
    }

    fn load(&mut self, group: RowGroupIndex) -> Result<(), StoreError> {
        if !self.open.contains_key(&group.place) {
            let shard = OpenShard::open(self.cache.borrow(), group.place, &self.site, &self.filter)?;
            self.open.insert(group.place, shard);
        }
        let shard = &self.open[&group.place];
        shard.read(group.row_group, &mut self.bytes)?;
        self.kept = shard.kept(group.row_group);
        Ok(())
    }

    /// Advances to the next row group, and closes the shard after its last.
    fn leave(&mut self, group: RowGroupIndex) {
        if self.last_of_shard.get(&group.place) == Some(&self.position.row_groups) {
            self.open.remove(&group.place);
        }
        self.position.row_groups += 1;
        self.position.rows = 0;
        self.kept.clear();
    }
}
