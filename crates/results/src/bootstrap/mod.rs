//! How certain figures are: intervals from resampling the sequences of the cache.
//!
//! Tokens of a sequence are alike, sequences are drawn independently: so whole sequences are resampled, with the sums that
//! they add, and every figure is computed again from the sums, by the same code. Differences between SAEs are taken within
//! each resample, so that what makes a text hard for both cancels out.
//!
//! The crates that bootstrap take a list of numbers and a statistic of it. Here one resample serves all figures of all SAEs,
//! and a statistic is a ratio of weighted sums over sequences, so that drawing counts and adding up is ours; the normal
//! distribution is `statrs`'s.

#[cfg(test)]
mod coverage;
mod figures;
mod interval;
mod intervals;
mod resample;

use std::str::FromStr;

pub use self::interval::Interval;
pub use self::intervals::{Difference, DifferenceFigure, Intervals};
pub use self::intervals::{Uncertain, uncertainty};

/// How figures are resampled.
///
/// ```
/// use hayloft_results::Bootstrap;
///
/// assert_eq!("5000".parse(), Ok(Bootstrap { resamples: 5000 }));
/// assert!("5".parse::<Bootstrap>().unwrap_err().contains("from 100 to 100000"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bootstrap {
    /// How many times; at least [`Bootstrap::FEWEST`].
    pub resamples: usize,
}

impl Bootstrap {
    /// With fewer, the ends of a 95% interval are chance.
    pub const FEWEST: usize = 100;
    /// With more, nothing is gained but time lost.
    pub const MOST: usize = 100_000;
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 2000 }
    }
}

impl FromStr for Bootstrap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (fewest, most) = (Self::FEWEST, Self::MOST);
        let resamples = text.parse().ok().filter(|number| (fewest..=most).contains(number));
        let resamples =
            resamples.ok_or_else(|| format!("expected a whole number from {fewest} to {most}, got {text}"))?;
        Ok(Self { resamples })
    }
}
