//! How a stream reads a cache: in which order, how often, and which part of it.

use crate::stream::reading_order::{RowGroupIndex, reading_order};
use crate::stream::row_groups::KeptRows;

/// The order, the epochs and the part of a stream of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The seed of the order of row groups, another in each epoch. `None`: the order of the cache.
    pub seed: Option<u64>,
    /// The number of passes over the cache. `None`: endless.
    pub epochs: Option<u64>,
    /// The stream's index among streams that share the row groups of each epoch.
    pub part: usize,
    /// The number of these streams.
    pub parts: usize,
}

impl Reading {
    /// All rows, over and over, in another order in each epoch.
    pub fn endless(seed: u64) -> Self {
        Self { seed: Some(seed), epochs: None, part: 0, parts: 1 }
    }

    /// The row groups that the stream reads in an epoch, in order. Streams of different parts have different ones.
    pub(super) fn order(&self, row_groups: &[usize], epoch: u64) -> Vec<RowGroupIndex> {
        let all = match self.seed {
            Some(seed) => reading_order(row_groups, seed, epoch),
            None => in_order(row_groups),
        };
        all.into_iter().skip(self.part).step_by(self.parts).collect()
    }

    /// The number of rows of all epochs. `None` if there is no end.
    pub(super) fn rows(&self, kept: &KeptRows) -> Option<usize> {
        let first = first_row_groups(&kept.row_groups);
        let of_epoch = |epoch| {
            let order = self.order(&kept.row_groups, epoch);
            order.iter().map(|group| kept.kept[first[group.place] + group.row_group]).sum::<usize>()
        };
        self.epochs.map(|epochs| (0..epochs).map(of_epoch).sum())
    }

    /// The number of batches. A stream of one part ends with a partial batch unless `drop_last`. Streams of several parts
    /// have equally many batches, all of them full. `None` if there is no end.
    pub fn batches(&self, kept: &KeptRows, batch: usize, drop_last: bool) -> Option<u64> {
        if self.parts == 1 {
            let rows = self.rows(kept)?;
            return Some(if drop_last { rows / batch } else { rows.div_ceil(batch) } as u64);
        }
        (0..self.parts).map(|part| Some((Self { part, ..*self }.rows(kept)? / batch) as u64)).min().flatten()
    }
}

/// Cache-wide index of each shard's first row group.
pub(super) fn first_row_groups(row_groups: &[usize]) -> Vec<usize> {
    let mut first = 0;
    let next = |count: &usize| {
        first += count;
        first - count
    };
    row_groups.iter().map(next).collect()
}

fn in_order(row_groups: &[usize]) -> Vec<RowGroupIndex> {
    let of_shard =
        |(place, &count): (usize, &usize)| (0..count).map(move |row_group| RowGroupIndex { place, row_group });
    row_groups.iter().enumerate().flat_map(of_shard).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_share_the_row_groups_and_have_equally_many_batches() {
        let kept = KeptRows { row_groups: vec![3, 0, 4], rows: vec![9; 7], kept: vec![5, 0, 7, 2, 9, 1, 4] };
        for seed in [None, Some(3)] {
            let reading = |part, parts| Reading { seed, epochs: Some(2), part, parts };
            let whole = reading(0, 1).order(&kept.row_groups, 1);
            assert_eq!(whole.len(), 7);
            let mut shared: Vec<_> = (0..3).flat_map(|part| reading(part, 3).order(&kept.row_groups, 1)).collect();
            shared.sort_by_key(|group| whole.iter().position(|other| other == group));
            assert_eq!(shared, whole);
            assert_eq!(reading(0, 1).rows(&kept), Some(56));
            assert_eq!((0..3).filter_map(|part| reading(part, 3).rows(&kept)).sum::<usize>(), 56);
            assert_eq!(reading(0, 1).batches(&kept, 10, false), Some(6));
            assert_eq!(reading(0, 1).batches(&kept, 10, true), Some(5));
            let least = (0..3).filter_map(|part| reading(part, 3).rows(&kept)).min().unwrap() / 4;
            assert_eq!(reading(1, 3).batches(&kept, 4, false), Some(least as u64));
        }
        assert_eq!(Reading::endless(0).batches(&kept, 4, false), None);
    }
}
