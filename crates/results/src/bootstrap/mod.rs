//! Bootstrap intervals of metrics.
//!
//! Tokens within a sequence are correlated, while sequences are drawn independently. Resamples therefore draw whole
//! sequences, with their sums, and every metric is recomputed from the sums by the same code. Differences between SAEs
//! are taken within each resample, so that variation common to both cancels.
//!
//! Bootstrap crates take a list of numbers and a statistic of it. Here one resample serves all metrics of all SAEs, and
//! a statistic is a ratio of weighted sums over sequences, so this module draws the counts and adds up. The normal
//! distribution is `statrs`'s.

#[cfg(test)]
mod coverage;
mod interval;
mod intervals;
mod resample;

use std::str::FromStr;

pub use self::interval::Interval;
pub use self::intervals::{Difference, DifferenceFigure, Intervals};
pub use self::intervals::{Uncertain, uncertainty};

/// Bootstrap settings.
///
/// ```
/// use hayloft_results::Bootstrap;
///
/// assert_eq!("5000".parse(), Ok(Bootstrap { resamples: 5000 }));
/// assert!("5".parse::<Bootstrap>().unwrap_err().contains("from 100 to 100000"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bootstrap {
    /// Number of resamples; at least [`Bootstrap::FEWEST`].
    pub resamples: usize,
}

impl Bootstrap {
    /// Fewer resamples cannot resolve the ends of a 95% interval.
    pub const FEWEST: usize = 100;
    /// More resamples cost time without a gain in precision.
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
