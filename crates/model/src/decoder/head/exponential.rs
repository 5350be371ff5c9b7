//! A branch-free exponential function that compilers vectorise.

/// Smaller arguments are clamped to this one, whose result, 1.6e-38, vanishes next to a largest term of one.
pub(super) const LOWEST: f32 = -87.0;

/// 1.5 · 2²³: adding it to a float32 of moderate size leaves the nearest integer in the lowest bits.
const ROUNDING: f32 = 12_582_912.0;

/// ln 2 in two parts. The first has few enough digits for its product with an integer of moderate size to be exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// e^x for x ≤ 0, within 2 ulp; NaN for NaN. Without branches, calls or fused operations, so that every machine gives the
/// same bits.
///
/// x = n·ln 2 + r with |r| ≤ ln 2 / 2; the polynomial for e^r is from the Cephes library.
#[inline(always)]
pub(super) fn exponential(x: f32) -> f32 {
    // Unlike `max`, keeps NaN.
    let x = if x < LOWEST { LOWEST } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUNDING;
    let whole = shifted - ROUNDING;
    let r = x - whole * LN_2_HIGH - whole * LN_2_LOW;
    let mut tail = 1.987_569_1e-4;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5.0e-1] {
        tail = tail * r + coefficient;
    }
    let power_of_two = f32::from_bits(shifted.to_bits().wrapping_sub(ROUNDING.to_bits()).wrapping_add(127) << 23);
    (tail * r * r + r + 1.0) * power_of_two
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_exponential_of_float64_to_two_units_in_the_last_place() {
        let mut worst = 0.0f64;
        for step in 0..870_000 {
            let x = -(step as f32) * 1e-4;
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(exponential(x)) / exact - 1.0).abs());
        }
        assert!(worst < 2.0 * f64::from(f32::EPSILON), "{worst:e}");
        assert!((exponential(0.0) - 1.0).abs() < f32::EPSILON);
    }

    #[test]
    fn far_below_it_is_nearly_nothing_and_nan_stays() {
        assert!(exponential(-1e30) < 1e-37 && exponential(f32::NEG_INFINITY) < 1e-37);
        assert!(exponential(f32::NAN).is_nan());
    }
}
