//! The order in which an epoch reads row groups.

use crate::stream::generator::{Generator, Purpose};

/// Number of shards read concurrently. More would improve mixing but keep more files open.
const LANES: usize = 8;

/// A row group of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RowGroupIndex {
    /// Index of its shard in the manifest.
    pub(super) place: usize,
    /// Index in the shard.
    pub(super) row_group: usize,
}

/// Returns every row group of an epoch once. Shards are in random order, [`LANES`] of them at a time, each read from its
/// first row group to its last. `row_groups` holds the number of row groups per shard.
///
/// Sequences are sorted by length within a shard, so reading several shards mixes different lengths.
pub(super) fn reading_order(row_groups: &[usize], seed: u64, epoch: u64) -> Vec<RowGroupIndex> {
    let mut generator = Generator::new(seed, Purpose::Order, epoch);
    let mut waiting: Vec<usize> = (0..row_groups.len()).filter(|&place| row_groups[place] > 0).collect();
    generator.shuffle(&mut waiting);
    let mut lanes: Vec<RowGroupIndex> = Vec::new();
    let mut order = Vec::with_capacity(row_groups.iter().sum());
    loop {
        while lanes.len() < LANES {
            let Some(place) = waiting.pop() else { break };
            lanes.push(RowGroupIndex { place, row_group: 0 });
        }
        // Choose a lane in proportion to its remaining row groups, so that all lanes end at about the same time.
        let left = |lane: &RowGroupIndex| row_groups[lane.place] - lane.row_group;
        let total: usize = lanes.iter().map(left).sum();
        if total == 0 {
            return order;
        }
        let mut chosen = generator.below(total);
        let Some(lane) = lanes.iter().position(|lane| {
            let within = chosen < left(lane);
            chosen = chosen.saturating_sub(left(lane));
            within
        }) else {
            return order;
        };
        order.push(lanes[lane]);
        lanes[lane].row_group += 1;
        if left(&lanes[lane]) == 0 {
            lanes.swap_remove(lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_row_group_comes_once_and_shards_are_read_forwards(
            row_groups in vec(0usize..6, 0..30), seed in 0u64..100, epoch in 0u64..3
        ) {
            let order = reading_order(&row_groups, seed, epoch);
            prop_assert_eq!(order.len(), row_groups.iter().sum::<usize>());
            let mut next = vec![0; row_groups.len()];
            for group in order {
                prop_assert_eq!(group.row_group, next[group.place]);
                next[group.place] += 1;
                let open = (0..next.len()).filter(|&place| next[place] > 0 && next[place] < row_groups[place]).count();
                prop_assert!(open <= LANES);
            }
            prop_assert_eq!(next, row_groups);
        }
    }

    #[test]
    fn each_epoch_and_each_seed_has_its_own_order() {
        let row_groups = [5; 12];
        let first = |seed, epoch| {
            let order = reading_order(&row_groups, seed, epoch);
            order.iter().map(|group| group.place).collect::<Vec<_>>()
        };
        let orders: BTreeSet<Vec<usize>> =
            [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(seed, epoch)| first(seed, epoch)).into();
        assert_eq!(orders.len(), 4);
        assert_eq!(first(0, 0), first(0, 0));
    }
}
