//! Random numbers that depend only on the seed and their purpose, not on earlier draws.
//!
//! Every step and epoch has a separate generator, so checkpoints store no generator state.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

/// The purpose of random numbers.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    /// Initial decoder weights.
    Weights,
    /// Row group order of an epoch.
    Order,
    /// Rows drawn from the mixing buffer for a batch.
    Batch,
}

/// A generator for a seed, a purpose and the number of a step or epoch.
#[derive(Debug)]
pub struct Generator(Pcg64);

impl Generator {
    /// The generator of a seed, a purpose and the number of a step or epoch.
    pub fn new(seed: u64, purpose: Purpose, number: u64) -> Self {
        let purpose = match purpose {
            Purpose::Weights => 1,
            Purpose::Order => 2,
            Purpose::Batch => 3,
        };
        Self(Pcg64::seed_from_u64(scramble(scramble(scramble(seed) ^ purpose) ^ number)))
    }

    /// A number below `bound`, which must be positive. Implemented here because ranges of `rand` may draw differently in
    /// future versions.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.0.next_u64()) * bound as u128) >> 64) as usize
    }

    /// A number in [−1, 1).
    pub fn symmetric(&mut self) -> f32 {
        const STEP: f32 = 1.0 / (1 << 23) as f32;
        (self.0.next_u32() >> 8) as f32 * STEP - 1.0
    }

    /// Shuffles items (Fisher–Yates).
    pub fn shuffle<Item>(&mut self, items: &mut [Item]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last + 1);
            items.swap(last, other);
        }
    }
}

/// A bijection that decorrelates neighbouring numbers: the output step of splitmix64 (Steele, Lea and Flood 2014).
fn scramble(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Never change these numbers: resumed trainings depend on them.
    #[test]
    fn the_numbers_of_a_seed_are_pinned() {
        let draw = |purpose, number| {
            let mut generator = Generator::new(42, purpose, number);
            [generator.below(1000), generator.below(1000), generator.below(1000)]
        };
        let drawn =
            [draw(Purpose::Weights, 0), draw(Purpose::Order, 0), draw(Purpose::Batch, 0), draw(Purpose::Batch, 1)];
        assert_eq!(drawn, [[708, 106, 873], [342, 202, 844], [954, 878, 736], [643, 542, 611]]);
    }

    #[test]
    fn symmetric_numbers_fill_their_range() {
        let mut generator = Generator::new(1, Purpose::Weights, 0);
        let drawn: Vec<f32> = (0..10_000).map(|_| generator.symmetric()).collect();
        assert!(drawn.iter().all(|number| (-1.0..1.0).contains(number)));
        let mean = drawn.iter().sum::<f32>() / 1e4;
        let square = drawn.iter().map(|number| number * number).sum::<f32>() / 1e4;
        assert!(mean.abs() < 0.02 && (square - 1.0 / 3.0).abs() < 0.01, "{mean} {square}");
    }

    #[test]
    fn a_shuffle_loses_nothing() {
        let mut items: Vec<usize> = (0..50).collect();
        Generator::new(3, Purpose::Order, 0).shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
