//! A histogram of norms.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// log2 of the number of bins per doubling of the norm; bins within a doubling are of equal width.
const BITS_PER_DOUBLING: u32 = 3;

/// Norms below 2⁻³² and above 2³² fall into the outermost bins. The histogram has at most 513 bins.
const SMALLEST: f64 = 1.0 / 4_294_967_296.0;
const LARGEST: f64 = 4_294_967_296.0;

/// All bins, from the smallest norm to the largest.
pub const NORM_BINS: Range<i32> = -256..257;

/// Number of rows by unscaled norm.
///
/// Bin k holds norms from 2^⌊k/8⌋ · (1 + (k mod 8)/8) up to the border of bin k + 1. A border is the exponent and the
/// first three mantissa bits of a float64, so that finding a bin involves no rounding.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NormHistogram {
    /// k of the first entry of `counts`.
    pub first_bin: i32,
    /// Rows in each bin, from `first_bin` on.
    pub counts: Vec<u64>,
}

impl NormHistogram {
    /// Counts a row. A non-finite norm is not counted.
    pub fn add(&mut self, norm: f64) {
        if norm.is_finite() {
            self.add_many(bin(norm), 1);
        }
    }

    /// Adds the counts of another histogram.
    pub fn merge(&mut self, other: &Self) {
        for (bin, &count) in (other.first_bin..).zip(&other.counts) {
            if count > 0 {
                self.add_many(bin, count);
            }
        }
    }

    /// Iterates over the bins: lower border, upper border, rows. Borders are unscaled norms.
    pub fn bins(&self) -> impl Iterator<Item = (f64, f64, u64)> + '_ {
        (self.first_bin..).zip(&self.counts).map(|(bin, &count)| (border(bin), border(bin + 1), count))
    }

    /// Approximates the norm below which a share of the rows lies: the geometric centre of its bin, accurate to 1/16.
    /// `None` if there are no rows.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let total: u64 = self.counts.iter().sum();
        let mut below = 0.0;
        for (from, to, count) in self.bins() {
            below += count as f64;
            if count > 0 && below >= share * total as f64 {
                return Some((from * to).sqrt());
            }
        }
        None
    }

    fn add_many(&mut self, bin: i32, count: u64) {
        if self.counts.is_empty() {
            self.first_bin = bin;
        }
        if bin < self.first_bin {
            let more = self.first_bin.abs_diff(bin) as usize;
            self.counts.splice(0..0, std::iter::repeat_n(0, more));
            self.first_bin = bin;
        }
        let place = self.first_bin.abs_diff(bin) as usize;
        if self.counts.len() <= place {
            self.counts.resize(place + 1, 0);
        }
        self.counts[place] += count;
    }
}

/// Mantissa bits that do not affect the bin.
const SHIFT: u32 = f64::MANTISSA_DIGITS - 1 - BITS_PER_DOUBLING;

/// The bits of 1.0, the lower border of bin 0.
const ONE: u64 = 1f64.to_bits() >> SHIFT;

fn bin(norm: f64) -> i32 {
    // After clamping, the difference is within ±256.
    (norm.clamp(SMALLEST, LARGEST).to_bits() >> SHIFT).wrapping_sub(ONE) as i32
}

fn border(bin: i32) -> f64 {
    let per_doubling = 1 << BITS_PER_DOUBLING;
    let eighths = f64::from(bin.rem_euclid(per_doubling)) / f64::from(per_doubling);
    f64::from(bin.div_euclid(per_doubling)).exp2() * (1.0 + eighths)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn of(norms: &[f64]) -> NormHistogram {
        let mut histogram = NormHistogram::default();
        for &norm in norms {
            histogram.add(norm);
        }
        histogram
    }

    #[test]
    fn a_norm_lies_between_the_borders_of_its_bin() {
        for norm in [1.0, 1.124_999, 1.125, 0.999_999, 0.3, 17.2, 3000.0, 1e-9, 4e9] {
            let bins: Vec<_> = of(&[norm]).bins().collect();
            let &[(from, to, 1)] = bins.as_slice() else { panic!("{bins:?}") };
            assert!(from <= norm && norm < to, "{norm} in {from}..{to}");
        }
    }

    #[test]
    fn what_is_out_of_range_is_kept_at_the_ends_and_what_is_not_finite_nowhere() {
        let histogram = of(&[0.0, 1e-300, 1e300, f64::NAN, f64::INFINITY]);
        assert_eq!(histogram.counts.iter().sum::<u64>(), 3);
        assert_eq!(histogram.first_bin..histogram.first_bin + histogram.counts.len() as i32, NORM_BINS);
    }

    #[test]
    fn quantiles_are_right_to_a_sixteenth() {
        let norms: Vec<f64> = (1..=1000).map(f64::from).collect();
        for (share, norm) in [(0.1, 100.0), (0.5, 500.0), (0.99, 990.0), (1.0, 1000.0), (0.0, 1.0)] {
            let found = of(&norms).quantile(share).unwrap();
            assert!((found / norm - 1.0).abs() < 1.0 / 16.0, "{share}: {found}");
        }
        assert_eq!(NormHistogram::default().quantile(0.5), None);
    }

    proptest! {
        #[test]
        fn parts_merge_to_the_whole(norms in vec(1e-3f64..1e5, 0..40), cut in 0..40usize) {
            let cut = cut.min(norms.len());
            let mut merged = of(&norms[..cut]);
            merged.merge(&of(&norms[cut..]));
            prop_assert_eq!(merged, of(&norms));
        }
    }
}
