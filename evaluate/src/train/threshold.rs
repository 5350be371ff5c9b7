//! Where the threshold of a saved `BatchTopK` comes from.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where the one threshold of a `BatchTopK` comes from that is saved as a `JumpReLU`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThresholdSource {
    /// The running mean over steps of a batch's smallest latent, from 0 on and a hundredth of the way a step, as in SAELens. It is
    /// behind where training was short, or still changes much.
    #[default]
    Running,
    /// The held-out rows: k latents fire in them on average.
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
            other => Err(format!("expected running or held-out, got {other}")),
        }
    }
}

/// The threshold that so many of some numbers are above, which are too many to be held: `pass` shows all of them, some at a time and in
/// any order, and is called twice. They are above zero and none is NaN; with fewer of them it is zero. It is half-way between the
/// smallest number above it and the next, so that their last bits do not matter; of equal ones all are above it, or none is.
///
/// Bits of positive floats are in the order of the floats: the first pass counts by their upper halves, the second, among those that
/// share the upper half of what is sought, by the lower.
pub(super) fn threshold_below<Failure>(
    firings: u64,
    mut pass: impl FnMut(&mut dyn FnMut(&[f32])) -> Result<(), Failure>,
) -> Result<f32, Failure> {
    let mut counts = vec![0u64; 1 << 16];
    pass(&mut |values| values.iter().for_each(|value| counts[(value.to_bits() >> 16) as usize] += 1))?;
    // The largest number that is not above the threshold.
    let Some((upper, rank)) = from_above(&counts, firings + 1) else { return Ok(0.0) };
    counts.fill(0);
    let mut above = f32::INFINITY;
    pass(&mut |values| {
        for &value in values {
            match (value.to_bits() >> 16).cmp(&upper) {
                Ordering::Less => {}
                Ordering::Equal => counts[(value.to_bits() & 0xffff) as usize] += 1,
                Ordering::Greater => above = above.min(value),
            }
        }
    })?;
    let at = |rank| from_above(&counts, rank).map(|(lower, _)| f32::from_bits(upper << 16 | lower));
    let below = at(rank).unwrap_or(0.0);
    let above = if rank > 1 { at(rank - 1).unwrap_or(above) } else { above };
    let middle = below + (above - below) / 2.0;
    Ok(if middle < above && middle.is_finite() { middle } else { below })
}

/// The place that the `rank`-th is counted at, from above, and which it is of those there.
fn from_above(counts: &[u64], rank: u64) -> Option<(u32, u64)> {
    let mut left = rank;
    for (place, &count) in counts.iter().enumerate().rev() {
        if left <= count {
            return Some((place as u32, left));
        }
        left -= count;
    }
    None
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
    fn it_is_half_way_between_two_numbers() {
        assert_eq!(found(&[2.0, 1.0, 4.0], 2, 1).to_bits(), 1.5f32.to_bits());
        assert_eq!(found(&[2.0, 1.0, 4.0], 1, 2).to_bits(), 3.0f32.to_bits());
        let next = f32::from_bits(1.0f32.to_bits() + 1);
        assert_eq!(found(&[1.0, next], 1, 2).to_bits(), 1.0f32.to_bits(), "there is none between them");
    }

    #[test]
    fn there_may_be_too_few_or_none_wanted() {
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
