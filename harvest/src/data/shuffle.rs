//! A bounded, seeded shuffle of a stream.

use std::num::NonZeroUsize;

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

/// Holds up to `capacity` items, and returns a random one for each new item.
///
/// The order depends only on the seed, the capacity and the order of arrival. A test pins it, so that existing plans
/// stay reproducible.
pub(super) struct ShuffleBuffer<Item> {
    random: Pcg64,
    capacity: usize,
    held: Vec<Item>,
}

impl<Item> ShuffleBuffer<Item> {
    pub(super) fn new(seed: u64, capacity: NonZeroUsize) -> Self {
        Self { random: Pcg64::seed_from_u64(seed), capacity: capacity.get(), held: Vec::new() }
    }

    /// Adds an item. Returns another one if the buffer is full.
    pub(super) fn exchange(&mut self, item: Item) -> Option<Item> {
        if self.held.len() < self.capacity {
            self.held.push(item);
            return None;
        }
        let place = self.draw();
        Some(std::mem::replace(&mut self.held[place], item))
    }

    /// Removes an item after the end of the input; `None` if the buffer is empty.
    pub(super) fn drain(&mut self) -> Option<Item> {
        if self.held.is_empty() {
            return None;
        }
        let place = self.draw();
        Some(self.held.swap_remove(place))
    }

    /// Draws an index. Scaled by hand, because later versions of `rand` may draw ranges differently.
    fn draw(&mut self) -> usize {
        ((u128::from(self.random.next_u64()) * self.held.len() as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shuffled(count: u32, seed: u64, capacity: usize) -> Vec<u32> {
        let mut buffer = ShuffleBuffer::new(seed, NonZeroUsize::new(capacity).unwrap());
        let mut all: Vec<_> = (0..count).filter_map(|item| buffer.exchange(item)).collect();
        all.extend(std::iter::from_fn(|| buffer.drain()));
        all
    }

    /// Never change these numbers: they define the order of documents in existing plans.
    #[test]
    fn the_order_of_a_seed_is_pinned() {
        assert_eq!(shuffled(12, 0, 4), [0, 1, 2, 4, 3, 7, 9, 6, 8, 11, 10, 5]);
        assert_eq!(shuffled(12, 7, 100), [0, 2, 9, 7, 3, 4, 11, 1, 10, 6, 5, 8]);
    }

    #[test]
    fn nothing_is_lost_and_nothing_overtakes_the_buffer() {
        for capacity in [1, 2, 10, 1000] {
            let order = shuffled(100, 3, capacity);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..100).collect::<Vec<_>>());
            for (place, item) in order.iter().enumerate() {
                assert!((*item as usize) <= place + capacity, "{item} came out at {place} of a buffer of {capacity}");
            }
        }
        assert_eq!(shuffled(100, 3, 1), (0..100).collect::<Vec<_>>());
        assert_ne!(shuffled(100, 3, 100), shuffled(100, 4, 100));
    }
}
