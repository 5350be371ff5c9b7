//! The bias-corrected and accelerated bootstrap interval (Efron 1987), which corrects percentiles for bias and
//! skewness.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

/// Probability mass outside the interval on each side.
const TAIL: f64 = 0.025;

/// A 95% confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(into = "(f64, f64)", from = "(f64, f64)")]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    /// Half the width.
    pub fn half_width(&self) -> f64 {
        (self.high - self.low) / 2.0
    }

    /// Computes the interval of an estimate. Sorts `resamples` in place; `acceleration` comes from
    /// [`Jackknife::acceleration`]. `None` if any value is undefined.
    pub(super) fn of(estimate: f64, resamples: &mut [f64], acceleration: f64) -> Option<Self> {
        if !estimate.is_finite() || resamples.is_empty() || resamples.iter().any(|value| !value.is_finite()) {
            return None;
        }
        resamples.sort_unstable_by(f64::total_cmp);
        let below = resamples.partition_point(|&value| value < estimate);
        let ties = resamples.partition_point(|&value| value <= estimate) - below;
        let share = (below as f64 + ties as f64 / 2.0) / resamples.len() as f64;
        let normal = Normal::standard();
        let at = |tail: f64| {
            let corrected = corrected(normal.inverse_cdf(share), acceleration, tail);
            // If all resamples lie to one side of the estimate, the bias cannot be estimated.
            quantile(resamples, if corrected.is_finite() { corrected } else { tail })
        };
        Some(Self { low: at(TAIL), high: at(1.0 - TAIL) })
    }
}

impl From<Interval> for (f64, f64) {
    fn from(interval: Interval) -> Self {
        (interval.low, interval.high)
    }
}

impl From<(f64, f64)> for Interval {
    fn from((low, high): (f64, f64)) -> Self {
        Self { low, high }
    }
}

/// The share of resamples below an end of the interval, corrected for bias and acceleration. `tail` is the uncorrected
/// share.
fn corrected(bias: f64, acceleration: f64, tail: f64) -> f64 {
    let normal = Normal::standard();
    let shifted = bias + normal.inverse_cdf(tail);
    normal.cdf(bias + shifted / (1.0 - acceleration * shifted))
}

/// A quantile of sorted values, by linear interpolation.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

/// Moments of a metric's changes as each sequence is left out in turn.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Jackknife {
    count: f64,
    sums: [f64; 3],
}

impl Jackknife {
    /// Adds the metric's change without one sequence.
    pub(super) fn add(&mut self, change: f64) {
        self.count += 1.0;
        for (sum, power) in self.sums.iter_mut().zip([change, change.powi(2), change.powi(3)]) {
            *sum += power;
        }
    }

    /// The acceleration: a sixth of the metric's skewness; 0 if the metric never changes.
    pub(super) fn acceleration(&self) -> f64 {
        let [mean, second, third] = self.sums.map(|sum| sum / self.count);
        let variance = second - mean * mean;
        let skew = -(third - 3.0 * mean * second + 2.0 * mean.powi(3));
        let acceleration = skew / (6.0 * variance.powf(1.5) * self.count.sqrt());
        if acceleration.is_finite() { acceleration } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_bias_and_skewness_it_is_between_the_percentiles() {
        let mut resamples: Vec<f64> = (0..=1000).rev().map(f64::from).collect();
        let interval = Interval::of(500.0, &mut resamples, 0.0).unwrap();
        assert!((interval.low - 25.0).abs() < 1e-6 && (interval.high - 975.0).abs() < 1e-6, "{interval:?}");
        assert!((interval.half_width() - 475.0).abs() < 1e-6);
        // Positive skewness moves both ends up.
        let skewed = Interval::of(500.0, &mut resamples, 0.1).unwrap();
        assert!(skewed.low > interval.low && skewed.high > interval.high, "{skewed:?}");
        // An estimate above most of its resamples is biased downwards: the interval moves up by twice the bias.
        let biased = Interval::of(600.0, &mut resamples, 0.0).unwrap();
        assert!(biased.low > interval.low && biased.high > interval.high, "{biased:?}");
    }

    /// Efron and Tibshirani (1993), An Introduction to the Bootstrap, section 14.3.
    #[test]
    fn bias_and_skewness_move_the_percentiles_as_published() {
        let near = |tail: f64, expected: f64| (corrected(0.146, 0.061, tail) - expected).abs() < 1e-3;
        assert!(near(0.05, 0.110) && near(0.95, 0.985));
    }

    #[test]
    fn acceleration_is_that_of_the_jackknife() {
        let left_out = [1.0, 2.0, 4.0, 9.0];
        let mut jackknife = Jackknife::default();
        for value in left_out {
            jackknife.add(value - 4.5);
        }
        let mean = 4.0;
        let power = |power| left_out.iter().map(|value| (mean - value).powi(power)).sum::<f64>();
        let expected = power(3) / (6.0 * power(2).powf(1.5));
        assert!((jackknife.acceleration() - expected).abs() < 1e-12);
        assert!(Jackknife::default().acceleration().abs() < f64::EPSILON);
    }

    #[test]
    fn what_never_changes_has_no_width_and_what_is_undefined_no_interval() {
        let interval = Interval::of(3.0, &mut [3.0; 50], 0.0).unwrap();
        assert!((interval.low - 3.0).abs() < f64::EPSILON && interval.half_width().abs() < f64::EPSILON);
        assert_eq!(Interval::of(3.0, &mut [3.0, f64::NAN], 0.0), None);
        assert_eq!(Interval::of(f64::NAN, &mut [3.0; 2], 0.0), None);
        let aside = Interval::of(9.0, &mut [1.0, 2.0, 3.0], 0.0).unwrap();
        assert!(aside.low >= 1.0 && aside.high <= 3.0, "{aside:?}");
        assert_eq!(serde_json::to_string(&Interval { low: 0.5, high: 1.5 }).unwrap(), "[0.5,1.5]");
    }
}
