//! Histograms of activations above zero.

use serde::{Deserialize, Serialize};

/// Bits of a float32 that do not affect its bin: a bin is the exponent and the first three bits of the mantissa.
const SHIFT: u32 = f32::MANTISSA_DIGITS - 1 - 3;

/// Number of bins.
const BINS: u64 = (f32::INFINITY.to_bits() >> SHIFT) as u64;

/// Number of activations of one latent by size.
///
/// Bin k holds the float32 numbers whose bits, shifted right by 20, are k: eight bins of equal width for each doubling, from
/// the smallest number above zero to the largest. Finding a bin involves no rounding, and histograms add exactly.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// k of the first entry of `counts`.
    first: u32,
    /// Activations in each bin, from `first` on.
    counts: Vec<u64>,
}

/// A bin of a histogram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    /// The smallest number of the bin.
    pub from: f32,
    /// The smallest number of the next bin; infinity for the last.
    pub to: f32,
    /// Activations in the bin.
    pub count: u64,
}

impl Histogram {
    /// Counts an activation, which must be finite and above zero.
    pub fn add(&mut self, value: f32) {
        self.add_to(value.to_bits() >> SHIFT, 1);
    }

    /// Counts the activations of another histogram.
    pub fn add_all(&mut self, other: &Self) {
        for (bin, &count) in (other.first..).zip(&other.counts).filter(|(_, count)| **count > 0) {
            self.add_to(bin, count);
        }
    }

    /// Whether all bins are bins of numbers, and no count is larger than this.
    pub(crate) fn is_within(&self, largest: u64) -> bool {
        u64::from(self.first) + self.counts.len() as u64 <= BINS && self.counts.iter().all(|&count| count <= largest)
    }

    fn add_to(&mut self, bin: u32, activations: u64) {
        if self.counts.is_empty() {
            self.first = bin;
        }
        if bin < self.first {
            let more = (self.first - bin) as usize;
            self.counts.splice(0..0, std::iter::repeat_n(0, more));
            self.first = bin;
        }
        let place = (bin - self.first) as usize;
        if self.counts.len() <= place {
            self.counts.resize(place + 1, 0);
        }
        self.counts[place] += activations;
    }

    /// Bins that are not empty, in ascending order.
    pub fn bins(&self) -> impl Iterator<Item = Bin> + '_ {
        let border = |bin: u32| f32::from_bits(bin << SHIFT);
        let all = (self.first..).zip(&self.counts).filter(|(_, count)| **count > 0);
        all.map(move |(bin, &count)| Bin { from: border(bin), to: border(bin + 1), count })
    }

    /// The activation that a share of all lies below, from their bins: in the bin that holds rank share · n, at the same share
    /// of the bin's width as the rank is of its activations. `max` is the largest activation, above which no bin reaches.
    /// `None` if there are no activations.
    pub fn quantile(&self, share: f64, max: f32) -> Option<f64> {
        let rank = share * self.counts.iter().sum::<u64>() as f64;
        let mut below = 0;
        for Bin { from, to, count } in self.bins() {
            if (below + count) as f64 >= rank {
                let (from, to) = (f64::from(from), f64::from(to.min(max)));
                return Some(from + (to - from) * ((rank - below as f64) / count as f64));
            }
            below += count;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f32]) -> Histogram {
        let mut histogram = Histogram::default();
        for &value in values {
            histogram.add(value);
        }
        histogram
    }

    #[test]
    fn an_activation_lies_between_the_borders_of_its_bin() {
        for value in [1.0, 1.124_999, 1.125, 0.999_999, 17.2, f32::from_bits(1), f32::MIN_POSITIVE, f32::MAX] {
            let bins: Vec<Bin> = of(&[value]).bins().collect();
            let &[Bin { from, to, count: 1 }] = bins.as_slice() else { panic!("{bins:?}") };
            assert!(from <= value && value < to, "{value} in {from}..{to}");
        }
        let bins: Vec<Bin> = of(&[1.0, 1.9, 1.0]).bins().collect();
        let bin = |from, to, count| Bin { from, to, count };
        assert_eq!(bins, [bin(1.0, 1.125, 2), bin(1.875, 2.0, 1)]);
    }

    #[test]
    fn quantiles_are_right_to_the_width_of_a_bin() {
        let values: Vec<f32> = (1..=1000u16).map(f32::from).collect();
        let histogram = of(&values);
        for share in [0.1, 0.25, 0.5, 0.9, 0.99, 1.0] {
            let found = histogram.quantile(share, 1000.0).unwrap();
            assert!((found / (1000.0 * share) - 1.0).abs() < 1.0 / 16.0, "{share}: {found}");
        }
        assert_eq!(histogram.quantile(1.0, 1000.0), Some(1000.0));
        // Four in the bin 1..1.125: the median is in its middle.
        assert_eq!(of(&[1.0, 1.01, 1.02, 1.03]).quantile(0.5, 2.0), Some(1.0625));
        assert_eq!(Histogram::default().quantile(0.5, 0.0), None);
    }

    proptest! {
        #[test]
        fn the_order_of_activations_does_not_matter(values in vec(1e-9f32..1e9, 1..60), turn in 0..60usize) {
            let mut turned = values.clone();
            turned.rotate_left(turn % values.len());
            prop_assert_eq!(of(&turned), of(&values));
            let (left, right) = turned.split_at(turn % turned.len());
            let mut parts = of(left);
            parts.add_all(&of(right));
            prop_assert_eq!(&parts, &of(&values));
            prop_assert!(parts.is_within(values.len() as u64));
        }
    }
}
