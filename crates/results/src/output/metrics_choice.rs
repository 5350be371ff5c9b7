//! Selection of the metrics to print.

use std::str::FromStr;

use hayloft_runtime::words::did_you_mean;

/// The metrics to print. Files contain all metrics.
///
/// ```
/// use hayloft_results::MetricsChoice;
///
/// assert_eq!("all".parse(), Ok(MetricsChoice::All));
/// assert!("few".parse::<MetricsChoice>().unwrap_err().contains("study or all"));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MetricsChoice {
    /// The study's columns and supporting columns.
    #[default]
    Study,
    /// Also the metrics of latents and reconstructions.
    All,
}

impl FromStr for MetricsChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "study" => Ok(Self::Study),
            "all" => Ok(Self::All),
            other => Err(format!("expected study or all, got {other}{}", did_you_mean(other, ["study", "all"]))),
        }
    }
}
