//! Which figures are printed.

use std::str::FromStr;

/// Which figures are printed; files have all of them.
///
/// ```
/// use hayloft_results::MetricsChoice;
///
/// assert_eq!("all".parse(), Ok(MetricsChoice::All));
/// assert!("few".parse::<MetricsChoice>().unwrap_err().contains("study or all"));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MetricsChoice {
    /// The study's, and what stands behind them.
    #[default]
    Study,
    /// Those, and what else is known of latents and reconstructions.
    All,
}

impl FromStr for MetricsChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "study" => Ok(Self::Study),
            "all" => Ok(Self::All),
            other => Err(format!("expected study or all, got {other}")),
        }
    }
}
