//! Which activations count as outliers.

use std::fmt;
use std::str::FromStr;

use hayloft_terminal::Progress;
use serde::{Deserialize, Serialize};

use crate::EvaluateError;
use crate::median::Numbers;
use crate::section_choice::SectionChoice;
use crate::source::Source;

/// What a user calls an outlier: an activation of a norm above this.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OutlierNorm {
    /// The norm, after scaling.
    Absolute(f64),
    /// So many times the median norm of the cache's activations, as in `dictionary_learning`.
    MedianMultiple(f64),
}

/// The median that a threshold was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MedianRule {
    /// How many times the median an activation may be.
    pub multiple: f64,
    /// The median Euclidean norm of the site's finite activations, tokens that are left out not counted, in the model's own
    /// units.
    pub median: f64,
}

impl OutlierNorm {
    /// Behind the number of a multiple.
    const OF_MEDIAN: &'static str = "xmedian";

    /// The number in it, which must be above zero.
    pub(crate) fn number(self) -> f64 {
        match self {
            Self::Absolute(number) | Self::MedianMultiple(number) => number,
        }
    }
}

impl MedianRule {
    /// Reads the activations of the whole cache once.
    pub(crate) fn measure(multiple: f64, source: Source<'_>, progress: Progress) -> Result<Self, EvaluateError> {
        let spill = |cause| EvaluateError::Spill { folder: std::env::temp_dir(), cause };
        let mut norms = Numbers::new().map_err(spill)?;
        let gauge = progress.gauge("median norm", Some(source.cache.manifest().held.tokens));
        let rule = OutlierRule::new(None, 1.0);
        let places: Vec<usize> = (0..source.cache.shards()).collect();
        source.for_each(
            &places,
            &gauge,
            |batch| {
                let norms = batch.to_device(source)?.norms()?;
                let (kept, _) = batch.kept(SectionChoice::All, &norms, rule);
                Ok(kept.into_iter().map(|row| norms[row as usize]).collect::<Vec<f64>>())
            },
            |_, of_batch| norms.extend(&of_batch).map_err(spill),
        )?;
        match norms.median().map_err(spill)? {
            Some(median) => Ok(Self { multiple, median }),
            None => Err(EvaluateError::Setting {
                what: "outlier norm",
                expected: "activations to take a median of",
                got: "no finite activation".to_owned(),
            }),
        }
    }

    /// The threshold in the model's own units.
    pub(crate) fn threshold(self) -> f64 {
        self.multiple * self.median
    }
}

impl From<f64> for OutlierNorm {
    fn from(norm: f64) -> Self {
        Self::Absolute(norm)
    }
}

impl FromStr for OutlierNorm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0);
        let parsed = match text.strip_suffix(Self::OF_MEDIAN) {
            Some(multiple) => number(multiple).map(Self::MedianMultiple),
            None => number(text).map(Self::Absolute),
        };
        parsed.ok_or_else(|| {
            format!("expected a norm above zero, or a multiple of the median such as 10xmedian, got {text}")
        })
    }
}

impl fmt::Display for OutlierNorm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absolute(norm) => write!(formatter, "{norm}"),
            Self::MedianMultiple(multiple) => write!(formatter, "{multiple}{}", Self::OF_MEDIAN),
        }
    }
}

/// Rows with a norm above a threshold, and rows with NaN or infinity in them, are outliers: no figure is computed from
/// them, and in the spliced run they keep their own activation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct OutlierRule {
    /// In the model's own units: a threshold on the scaled activation, divided by the scale.
    threshold: Option<f64>,
}

/// What a rule says of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Kept,
    Outlier,
    NonFinite,
    /// Its token is one to leave out.
    Excluded,
}

/// Rows that the figures on activations leave out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// Of too large a norm, or of none.
    pub(crate) outliers: u64,
    /// Those of them that are NaN or infinite.
    pub(crate) non_finite: u64,
    /// Of tokens to leave out.
    pub(crate) excluded: u64,
}

impl OutlierRule {
    /// The rule for a threshold on `scale` times the residual.
    pub(crate) fn new(threshold: Option<f64>, scale: f64) -> Self {
        Self { threshold: threshold.map(|threshold| threshold / scale) }
    }

    /// The threshold in the model's own units.
    pub(crate) fn threshold(self) -> Option<f64> {
        self.threshold
    }

    /// What it says of a row of this norm, in the model's own units.
    pub(crate) fn judge(self, norm: f64) -> Verdict {
        match self.threshold {
            _ if !norm.is_finite() => Verdict::NonFinite,
            Some(threshold) if norm > threshold => Verdict::Outlier,
            _ => Verdict::Kept,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_and_multiples_of_the_median_are_told_apart() {
        for (text, norm) in [("200", OutlierNorm::Absolute(200.0)), ("10xmedian", OutlierNorm::MedianMultiple(10.0))] {
            assert_eq!(text.parse::<OutlierNorm>().unwrap(), norm);
            assert_eq!(norm.to_string(), text);
        }
        for text in ["", "xmedian", "0", "-1xmedian", "infxmedian", "10 x median", "nan"] {
            assert!(text.parse::<OutlierNorm>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_threshold_is_strict_and_on_the_scaled_activation() {
        let rule = OutlierRule::new(Some(10.0), 4.0);
        assert_eq!(rule.judge(2.5), Verdict::Kept);
        assert_eq!(rule.judge(2.5 + 1e-7), Verdict::Outlier);
    }

    #[test]
    fn what_is_not_finite_is_never_kept() {
        for threshold in [None, Some(1.0)] {
            for norm in [f64::NAN, f64::INFINITY] {
                assert_eq!(OutlierRule::new(threshold, 1.0).judge(norm), Verdict::NonFinite);
            }
        }
        assert_eq!(OutlierRule::new(None, 1.0).judge(1e300), Verdict::Kept);
    }
}
