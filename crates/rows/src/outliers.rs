//! The outlier rule.

use std::fmt;
use std::str::FromStr;

use hayloft_runtime::words::brief;
use serde::{Deserialize, Serialize};

use crate::error::RowsError;

/// An outlier threshold as the user writes it. Activations with a larger norm are outliers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum OutlierNorm {
    /// A norm in scaled space, of c · residual: `200`.
    Scaled(f64),
    /// An unscaled norm, of the residual itself: `870raw`.
    Raw(f64),
    /// A multiple of the median norm of the cache's activations, as in `dictionary_learning`: `10xmedian`.
    MedianMultiple(f64),
}

/// A resolved threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OutlierThreshold {
    /// The rule that it follows from.
    pub rule: OutlierNorm,
    /// In scaled space.
    pub scaled: f64,
    /// Unscaled.
    pub raw: f64,
}

/// A threshold relative to a median.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MedianRule {
    /// The multiple of the median.
    pub multiple: f64,
    /// Median Euclidean norm of the site's finite activations, unscaled, without excluded tokens.
    pub median: f64,
}

impl OutlierNorm {
    /// Help of an option that takes a rule.
    pub const HELP: &'static str = "Leave out activations of a larger norm than this. 200 is a norm in scaled space (of \
        --scale times the activation), 870raw one in the model's own space, 10xmedian ten times the median norm of the \
        cache's activations of any section, tokens that --exclude names not counted. In an evaluation they keep their own \
        activation, and only their losses count. After training with --scale, which is folded into the weights, 200 is \
        another norm in `evaluate run`, whose scale is 1 then; 870raw and 10xmedian mean the same in both \
        [default: none left out]";

    /// Suffix of a multiple of the median.
    const OF_MEDIAN: &'static str = "xmedian";

    /// Suffix of an unscaled norm.
    const RAW: &'static str = "raw";

    /// The number of the rule; always above zero.
    pub fn number(self) -> f64 {
        match self {
            Self::Scaled(number) | Self::Raw(number) | Self::MedianMultiple(number) => number,
        }
    }

    /// Resolves the rule for activations that are multiplied by `scale`. `None` for a multiple of an unknown median.
    pub fn resolve(self, scale: f64, median: Option<MedianRule>) -> Option<OutlierThreshold> {
        let (scaled, raw) = match self {
            Self::Scaled(norm) => (norm, norm / scale),
            Self::Raw(norm) => (norm * scale, norm),
            Self::MedianMultiple(_) => (median?.threshold() * scale, median?.threshold()),
        };
        Some(OutlierThreshold { rule: self, scaled, raw })
    }
}

impl OutlierThreshold {
    /// Describes the threshold in both spaces.
    pub fn in_words(&self) -> String {
        format!("{} in scaled space, {} in the model's own", brief(self.scaled), brief(self.raw))
    }
}

impl MedianRule {
    /// Combines a multiple with a median; an error if there is no median.
    pub fn of(multiple: f64, median: Option<f64>) -> Result<Self, RowsError> {
        Ok(Self { multiple, median: median.ok_or(RowsError::NoMedian)? })
    }

    /// The unscaled threshold.
    pub fn threshold(self) -> f64 {
        self.multiple * self.median
    }
}

impl From<f64> for OutlierNorm {
    fn from(norm: f64) -> Self {
        Self::Scaled(norm)
    }
}

impl FromStr for OutlierNorm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0);
        let parsed = if let Some(multiple) = text.strip_suffix(Self::OF_MEDIAN) {
            number(multiple).map(Self::MedianMultiple)
        } else if let Some(norm) = text.strip_suffix(Self::RAW) {
            number(norm).map(Self::Raw)
        } else {
            number(text).map(Self::Scaled)
        };
        parsed.ok_or_else(|| {
            format!(
                "expected a norm above zero in scaled space such as 200, one in the model's own space such as 870raw, or a multiple of the median such as 10xmedian, got {text}"
            )
        })
    }
}

impl TryFrom<String> for OutlierNorm {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<OutlierNorm> for String {
    fn from(norm: OutlierNorm) -> Self {
        norm.to_string()
    }
}

impl fmt::Display for OutlierNorm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scaled(norm) => write!(formatter, "{norm}"),
            Self::Raw(norm) => write!(formatter, "{norm}{}", Self::RAW),
            Self::MedianMultiple(multiple) => write!(formatter, "{multiple}{}", Self::OF_MEDIAN),
        }
    }
}

/// Classifies rows. Rows with a norm above the threshold and rows with NaN or infinity are outliers: metrics do not
/// count them, and the spliced run keeps the model's activation there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutlierRule {
    /// Unscaled.
    threshold: Option<f64>,
}

/// The classification of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The row counts.
    Kept,
    /// Its norm is above the threshold.
    Outlier,
    /// An element is NaN or infinite.
    NonFinite,
    /// Its token is excluded.
    Excluded,
}

/// Counts of rows that metrics on activations leave out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Rows with a norm that is above the threshold or not finite.
    pub outliers: u64,
    /// Of these, the rows with NaN or infinity.
    pub non_finite: u64,
    /// Rows of excluded tokens.
    pub excluded: u64,
}

impl LeftOut {
    /// Adds the counts of other rows.
    pub fn add(&mut self, other: Self) {
        let Self { outliers, non_finite, excluded } = other;
        self.outliers += outliers;
        self.non_finite += non_finite;
        self.excluded += excluded;
    }

    /// Counts a row unless it is kept.
    pub fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Kept => {}
            Verdict::Excluded => self.excluded += 1,
            Verdict::Outlier => self.outliers += 1,
            Verdict::NonFinite => {
                self.outliers += 1;
                self.non_finite += 1;
            }
        }
    }
}

impl OutlierRule {
    /// The rule for an unscaled threshold.
    pub fn above(threshold: Option<f64>) -> Self {
        Self { threshold }
    }

    /// The rule for a resolved threshold. Without one every finite row is kept.
    pub fn of(threshold: Option<OutlierThreshold>) -> Self {
        Self::above(threshold.map(|threshold| threshold.raw))
    }

    /// The unscaled threshold.
    pub fn threshold(self) -> Option<f64> {
        self.threshold
    }

    /// Classifies a row by its unscaled norm.
    pub fn judge(self, norm: f64) -> Verdict {
        match self.threshold {
            _ if !norm.is_finite() => Verdict::NonFinite,
            Some(threshold) if norm > threshold => Verdict::Outlier,
            _ => Verdict::Kept,
        }
    }

    /// Classifies a row by its unscaled norm and its token. Non-finite takes precedence over excluded.
    pub fn judge_row(self, norm: f64, is_excluded: bool) -> Verdict {
        match self.judge(norm) {
            Verdict::NonFinite => Verdict::NonFinite,
            _ if is_excluded => Verdict::Excluded,
            verdict => verdict,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_are_told_apart_and_written_as_they_are_read() {
        for (text, norm) in [
            ("200", OutlierNorm::Scaled(200.0)),
            ("870raw", OutlierNorm::Raw(870.0)),
            ("0.5raw", OutlierNorm::Raw(0.5)),
            ("10xmedian", OutlierNorm::MedianMultiple(10.0)),
        ] {
            assert_eq!(text.parse::<OutlierNorm>().unwrap(), norm);
            assert_eq!(norm.to_string(), text);
            assert_eq!(serde_json::from_value::<OutlierNorm>(text.into()).unwrap(), norm);
        }
        for text in
            ["", "xmedian", "raw", "0", "0raw", "-1xmedian", "infxmedian", "nanraw", "10 x median", "nan", "870RAW"]
        {
            let message = text.parse::<OutlierNorm>().unwrap_err();
            assert!(message.contains("870raw") && message.contains("10xmedian"), "{message}");
        }
    }

    #[test]
    fn a_threshold_has_a_value_in_either_space() {
        let resolve = |text: &str, median| text.parse::<OutlierNorm>().unwrap().resolve(4.0, median).unwrap();
        let median = MedianRule { multiple: 10.0, median: 0.5 };
        for (text, scaled, raw) in [("10", 10.0, 2.5), ("10raw", 40.0, 10.0), ("10xmedian", 20.0, 5.0)] {
            let rule = text.parse().unwrap();
            assert_eq!(resolve(text, Some(median)), OutlierThreshold { rule, scaled, raw });
        }
        assert_eq!(OutlierNorm::MedianMultiple(10.0).resolve(4.0, None), None);
    }

    #[test]
    fn the_threshold_is_strict() {
        let rule = OutlierRule::above(Some(2.5));
        assert_eq!(rule.judge(2.5), Verdict::Kept);
        assert_eq!(rule.judge(2.5 + 1e-7), Verdict::Outlier);
    }

    #[test]
    fn rows_that_are_not_finite_are_never_kept() {
        for threshold in [None, Some(1.0)] {
            for norm in [f64::NAN, f64::INFINITY] {
                assert_eq!(OutlierRule::above(threshold).judge(norm), Verdict::NonFinite);
            }
        }
        assert_eq!(OutlierRule::above(None).judge(1e300), Verdict::Kept);
    }
}
