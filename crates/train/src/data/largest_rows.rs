//! Squared-norm share of the largest rows, which reveals attention sinks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One row in this many counts as largest.
const ONE_IN: u64 = 100;

/// Low bits of a float32 norm that are ignored in binning. Norms in a bin agree to within a thousandth.
const WITHIN_BIN: u32 = 13;

/// Statistics of the largest hundredth of some rows, rounded up to whole rows. Shares are accurate to a thousandth, because
/// rows whose norms differ by less are interchangeable.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LargestRows {
    /// Number of largest rows.
    pub rows: u64,
    /// Their share of Σ‖x‖² over all rows; `None` without rows, or if all rows are zero.
    pub squared_norm_share: Option<f64>,
    /// The share of BOS rows in their Σ‖x‖²; `None` likewise.
    pub bos_share: Option<f64>,
}

/// A histogram of row norms in bounded memory.
#[derive(Debug, Default)]
pub(super) struct NormBins {
    bins: BTreeMap<u32, Bin>,
    rows: u64,
}

/// Rows of nearly equal norm.
#[derive(Debug, Default)]
struct Bin {
    rows: u64,
    /// Σ‖x‖².
    squares: f64,
    /// Σ‖x‖² over BOS rows.
    bos_squares: f64,
}

impl NormBins {
    /// Adds a row with a finite norm.
    pub(super) fn add(&mut self, norm: f32, is_bos: bool) {
        let bin = self.bins.entry(norm.to_bits() >> WITHIN_BIN).or_default();
        let square = f64::from(norm) * f64::from(norm);
        self.rows += 1;
        bin.rows += 1;
        bin.squares += square;
        bin.bos_squares += if is_bos { square } else { 0.0 };
    }

    /// Statistics of the largest rows.
    pub(super) fn largest(&self) -> LargestRows {
        let rows = self.rows.div_ceil(ONE_IN);
        let (mut left, mut squares, mut bos_squares) = (rows, 0.0, 0.0);
        // Norms are non-negative, so the order of their bits is the order of their values.
        for bin in self.bins.values().rev() {
            let taken = bin.rows.min(left);
            let share = taken as f64 / bin.rows as f64;
            squares += share * bin.squares;
            bos_squares += share * bin.bos_squares;
            left -= taken;
        }
        let all: f64 = self.bins.values().map(|bin| bin.squares).sum();
        let defined = |value: f64| value.is_finite().then_some(value);
        LargestRows { rows, squared_norm_share: defined(squares / all), bos_share: defined(bos_squares / squares) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn of(rows: &[(f32, bool)]) -> LargestRows {
        let mut bins = NormBins::default();
        for &(norm, is_bos) in rows {
            bins.add(norm, is_bos);
        }
        bins.largest()
    }

    #[test]
    fn a_sink_among_many_rows_is_seen_and_named() {
        let mut rows = vec![(160.0, false); 990];
        rows.extend([(9000.0, true); 10]);
        let found = of(&rows);
        let (sinks, text) = (10.0 * 81e6, 990.0 * 25_600.0);
        assert_eq!(found.rows, 10);
        assert!((found.squared_norm_share.unwrap() - sinks / (sinks + text)).abs() < 1e-12, "{found:?}");
        assert_eq!(found.bos_share, Some(1.0));
        // With longer contexts there are fewer sinks than rows counted as largest.
        let mut rows = vec![(160.0, false); 1999];
        rows.push((9000.0, true));
        let found = of(&rows);
        assert_eq!(found.rows, 20);
        assert!((found.bos_share.unwrap() - 81e6 / (81e6 + 19.0 * 25_600.0)).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn without_rows_and_with_zero_norms_the_share_is_unknown() {
        let nothing = |rows| LargestRows { rows, squared_norm_share: None, bos_share: None };
        assert_eq!(of(&[]), nothing(0));
        assert_eq!(of(&[(0.0, true); 3]), nothing(1));
    }

    proptest! {
        #[test]
        fn shares_are_those_of_sorted_rows(
            mut rows in vec((prop_oneof![1f32..200.0, 1e3f32..1e4, Just(0f32)], any::<bool>()), 1..600)
        ) {
            let found = of(&rows);
            rows.sort_by(|left, right| right.0.total_cmp(&left.0));
            let square = |rows: &[(f32, bool)]| rows.iter().map(|row| f64::from(row.0).powi(2)).sum::<f64>();
            let largest = &rows[..rows.len().div_ceil(100)];
            prop_assert_eq!(found.rows, largest.len() as u64);
            if square(&rows) > 0.0 {
                let expected = square(largest) / square(&rows);
                prop_assert!((found.squared_norm_share.unwrap() / expected - 1.0).abs() < 2e-3, "{:?} {}", found, expected);
            }
        }
    }
}
