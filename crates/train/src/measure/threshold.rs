//! The threshold of a saved `BatchTopK`.

use std::fmt;
use std::str::FromStr;

use hayloft_rows::at_rank;
use hayloft_runtime::words::did_you_mean;
use serde::{Deserialize, Serialize};

/// The source of the single threshold with which a `BatchTopK` is saved as a `JumpReLU`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThresholdSource {
    /// The running mean of each batch's smallest active latent, starting at 0 with a rate of 0.01 per step, as in SAELens. It
    /// lags in short trainings or while latents still change.
    #[default]
    Running,
    /// Held-out rows: the threshold at which k latents fire on average.
    HeldOut,
}

impl fmt::Display for ThresholdSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Running => "running",
            Self::HeldOut => "held-out",
        })
    }
}

impl FromStr for ThresholdSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "running" => Ok(Self::Running),
            "held-out" => Ok(Self::HeldOut),
            other => {
                let near = did_you_mean(other, ["running", "held-out"]);
                Err(format!("expected running or held-out, got {other}{near}"))
            }
        }
    }
}

/// Returns the threshold that `firings` of the values exceed. `pass` is called twice and shows all values in pieces, in any
/// order, so they need not fit in memory. Values must be positive and not NaN. The result is zero if there are at most
/// `firings` of them.
///
/// The threshold is half-way between the smallest value above it and the next, so that their last bits do not matter. Equal
/// values are all above it, or none is.
pub(crate) fn threshold_below<Failure>(
    firings: u64,
    pass: impl FnMut(&mut dyn FnMut(&[f32])) -> Result<(), Failure>,
) -> Result<f32, Failure> {
    // The largest value not above the threshold, and the smallest above it.
    let Some((below, above)) = at_rank(|total| total.checked_sub(firings + 1), pass)? else { return Ok(0.0) };
    let above = above.unwrap_or(f32::INFINITY);
    let middle = below + (above - below) / 2.0;
    Ok(if middle < above && middle.is_finite() { middle } else { below })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn found(values: &[f32], firings: u64, some: usize) -> f32 {
        let pass = |look: &mut dyn FnMut(&[f32])| {
            values.chunks(some).for_each(look);
            Ok::<_, ()>(())
        };
        threshold_below(firings, pass).unwrap()
    }

    proptest! {
        #[test]
        fn so_many_are_above_it(
            values in vec(prop_oneof![0.001f32..0.002, 1e-30f32..1e30, Just(0.5f32)], 0..200),
            firings in 0u64..220, some in 1usize..50
        ) {
            let threshold = found(&values, firings, some);
            let above = values.iter().filter(|&&value| value > threshold).count();
            let at_least = values.iter().filter(|&&value| value >= threshold).count();
            let firings = (firings as usize).min(values.len());
            prop_assert!(above <= firings && firings <= at_least, "{} of {}", above, at_least);
        }
    }

    #[test]
    fn the_threshold_is_half_way_between_two_numbers() {
        assert_eq!(found(&[2.0, 1.0, 4.0], 2, 1).to_bits(), 1.5f32.to_bits());
        assert_eq!(found(&[2.0, 1.0, 4.0], 1, 2).to_bits(), 3.0f32.to_bits());
        let next = f32::from_bits(1.0f32.to_bits() + 1);
        assert_eq!(found(&[1.0, next], 1, 2).to_bits(), 1.0f32.to_bits(), "there is none between them");
    }

    #[test]
    fn fewer_values_than_wanted_and_none_wanted_have_a_threshold() {
        assert_eq!(found(&[], 1, 1).to_bits(), 0);
        assert_eq!(found(&[2.0, 1.0], 2, 1).to_bits(), 0);
        assert_eq!(found(&[2.0, 1.0], 0, 1).to_bits(), 2.0f32.to_bits());
    }

    #[test]
    fn names_round_trip() {
        for source in [ThresholdSource::Running, ThresholdSource::HeldOut] {
            assert_eq!(source.to_string().parse(), Ok(source));
        }
        assert!("batch".parse::<ThresholdSource>().unwrap_err().contains("got batch"));
    }
}
