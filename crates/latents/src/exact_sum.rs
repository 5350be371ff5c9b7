//! Sums that do not round.

use serde::{Deserialize, Serialize};

/// Words of 64 bits: the largest float32 has 277 bits in units of the smallest, which leaves room for 2⁴³ of them.
const WORDS: usize = 5;

/// Exponent of the unit, the smallest float32 above zero.
const UNIT: i32 = -149;

/// The exact sum of float32 numbers that are finite and not negative. Additions in any order give the same sum.
///
/// It is an integer of 320 bits in units of 2⁻¹⁴⁹, the least significant word first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExactSum([u64; WORDS]);

impl ExactSum {
    /// Adds a number, which must be finite and not negative.
    pub fn add(&mut self, value: f32) {
        debug_assert!(value.is_finite() && value >= 0.0, "{value}");
        let bits = value.abs().to_bits();
        let exponent = bits >> (f32::MANTISSA_DIGITS - 1);
        let fraction = bits & ((1 << (f32::MANTISSA_DIGITS - 1)) - 1);
        let mantissa = u64::from(fraction) | (u64::from(exponent > 0) << (f32::MANTISSA_DIGITS - 1));
        let shift = exponent.saturating_sub(1);
        let place = (shift / u64::BITS) as usize;
        let wide = u128::from(mantissa) << (shift % u64::BITS);
        let (sum, carries) = self.0[place].overflowing_add(wide as u64);
        self.0[place] = sum;
        // The upper half has at most 23 bits.
        let mut more = (wide >> u64::BITS) as u64 + u64::from(carries);
        for word in &mut self.0[place + 1..] {
            if more == 0 {
                break;
            }
            let (sum, carries) = word.overflowing_add(more);
            (*word, more) = (sum, u64::from(carries));
        }
    }

    /// Adds another sum.
    pub fn add_sum(&mut self, other: Self) {
        let mut carries = false;
        for (word, other) in self.0.iter_mut().zip(other.0) {
            let (sum, carries_here) = word.overflowing_add(other);
            let (sum, carries_on) = sum.overflowing_add(u64::from(carries));
            (*word, carries) = (sum, carries_here | carries_on);
        }
    }

    /// The sum, rounded once to the nearest float64, ties to even.
    pub fn value(&self) -> f64 {
        let Some(top) = self.0.iter().rposition(|&word| word != 0) else { return 0.0 };
        let zeros = self.0[top].leading_zeros();
        let below = top.checked_sub(1).map_or(0, |place| self.0[place]);
        // The 64 leading bits of the sum, in the upper half.
        let leading = ((u128::from(self.0[top]) << u64::BITS) | u128::from(below)) << zeros;
        let rest = leading as u64 != 0 || self.0[..top.saturating_sub(1)].iter().any(|&word| word != 0);
        // A bit for all that follows, so that the conversion rounds as if it saw them.
        let leading = (leading >> u64::BITS) as u64 | u64::from(rest);
        let exponent = (top as i32) * u64::BITS as i32 - zeros as i32 + UNIT;
        leading as f64 * f64::from(exponent).exp2()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f32]) -> ExactSum {
        let mut sum = ExactSum::default();
        for &value in values {
            sum.add(value);
        }
        sum
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "the sums are exact")]
    fn sums_of_known_numbers_are_exact() {
        assert_eq!(ExactSum::default().value(), 0.0);
        for value in [0.0, f32::from_bits(1), f32::MIN_POSITIVE, 1.0, 0.1, 1.5e20, f32::MAX] {
            assert_eq!(of(&[value]).value(), f64::from(value), "{value}");
        }
        assert_eq!(of(&[f32::MAX, f32::MAX, f32::MAX]).value(), 3.0 * f64::from(f32::MAX));
        assert_eq!(of(&[1e30, 1e-30, 1e-45]).value(), f64::from(1e30f32));
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "the sums are exact")]
    fn rounding_is_once_to_even_with_all_bits_that_follow() {
        let two = |exponent: i32| 2f32.powi(exponent);
        // 2⁵³ + 1 is a tie, and goes to the even neighbour below.
        assert_eq!(of(&[two(53), two(0)]).value(), 9_007_199_254_740_992.0);
        // A little more, far below, breaks the tie.
        assert_eq!(of(&[two(53), two(0), two(-140)]).value(), 9_007_199_254_740_994.0);
        assert_eq!(of(&[two(53), two(1), two(0)]).value(), 9_007_199_254_740_996.0);
        // Carries through words of ones.
        let mut sum = of(&[two(127)]);
        for exponent in (-149..127).chain([-149]) {
            sum.add(two(exponent));
        }
        assert_eq!(sum.value(), 2.0 * f64::from(two(127)));
        let mut ones = ExactSum([u64::MAX, u64::MAX, u64::MAX, 5, 0]);
        ones.add_sum(ExactSum([1, 0, 0, 0, 0]));
        assert_eq!(ones, ExactSum([0, 0, 0, 6, 0]));
    }

    proptest! {
        #[test]
        fn sums_are_those_of_integers_in_any_order(
            numbers in vec((1u32..1 << 24, 0i32..60), 0..50),
            turn in 0..50usize,
        ) {
            let mut values: Vec<f32> =
                numbers.iter().map(|&(mantissa, exponent)| mantissa as f32 * 2f32.powi(exponent - 30)).collect();
            let exact: u128 = numbers.iter().map(|&(mantissa, exponent)| u128::from(mantissa) << exponent).sum();
            let sum = of(&values);
            // `as` rounds an integer to the nearest float64, ties to even.
            prop_assert_eq!(sum.value().to_bits(), (exact as f64 * (-30f64).exp2()).to_bits());
            if !values.is_empty() {
                let turn = turn % values.len();
                values.rotate_left(turn);
            }
            values.reverse();
            prop_assert_eq!(of(&values), sum);
            let (left, right) = values.split_at(turn % (values.len() + 1));
            let mut parts = of(left);
            parts.add_sum(of(right));
            prop_assert_eq!(parts, sum);
        }
    }
}
