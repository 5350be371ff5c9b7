//! The number c that a residual is multiplied by before an SAE sees it.

use std::fmt;
use std::str::FromStr;

use hayloft_store::SiteRecord;
use serde::{Deserialize, Serialize};

use crate::{EvaluateError, Normalisation};

/// What the user says of the scale. It is a property of the evaluated model, never of an SAE.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum ScaleChoice {
    /// The cache's for an SAE that wants `expected_average_only_in`, 1 for any other.
    #[default]
    FollowSae,
    /// The cache's, `sqrt(d_model) / mean norm`, for every SAE.
    Auto,
    /// 1 for every SAE.
    None,
    /// This number for every SAE; finite and above zero.
    Given(f64),
}

/// Where a scale came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScaleSource {
    /// The cache's mean norm.
    Cache,
    /// The user.
    Given,
    /// No scale: 1.
    None,
}

/// A scale and where it came from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// c, by which residuals are multiplied and reconstructions divided.
    pub value: f64,
    /// Where it came from.
    pub source: ScaleSource,
}

impl ScaleChoice {
    /// The scale for an SAE of this normalisation.
    pub(crate) fn resolve(self, normalisation: Normalisation, site: &SiteRecord) -> Result<Scale, EvaluateError> {
        let wants_average = normalisation == Normalisation::ExpectedAverageOnlyIn;
        match self {
            Self::Auto => from_cache(site),
            Self::FollowSae if wants_average => from_cache(site),
            Self::FollowSae | Self::None => Ok(Scale { value: 1.0, source: ScaleSource::None }),
            Self::Given(value) => Ok(Scale { value, source: ScaleSource::Given }),
        }
    }
}

fn from_cache(site: &SiteRecord) -> Result<Scale, EvaluateError> {
    let value = site.scale();
    if value.is_finite() && value > 0.0 {
        return Ok(Scale { value, source: ScaleSource::Cache });
    }
    Err(EvaluateError::NoScale { site: site.name.to_string(), mean_norm: site.mean_norm })
}

impl FromStr for ScaleChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "none" => Ok(Self::None),
            number => match number.parse::<f64>() {
                Ok(value) if value.is_finite() && value > 0.0 => Ok(Self::Given(value)),
                _ => Err(format!("expected auto, none or a number above zero, got {number}")),
            },
        }
    }
}

impl fmt::Display for ScaleChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FollowSae => formatter.write_str("what each SAE asks for"),
            Self::Auto => formatter.write_str("auto"),
            Self::None => formatter.write_str("none"),
            Self::Given(value) => value.fmt(formatter),
        }
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            ScaleSource::Cache => write!(formatter, "{} (the cache's: sqrt(d_model) / mean norm)", self.value),
            ScaleSource::Given => write!(formatter, "{} (given)", self.value),
            ScaleSource::None => formatter.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(mean_norm: f64) -> SiteRecord {
        let name = "blocks.0.hook_resid_pre".parse().unwrap();
        SiteRecord { name, d_model: 16, rows: 1, non_finite_rows: 0, mean_norm, mean: vec![0.0; 16], rounding: None }
    }

    #[test]
    fn the_default_follows_the_sae() {
        let resolve = |normalisation| ScaleChoice::FollowSae.resolve(normalisation, &site(8.0)).unwrap();
        let average = resolve(Normalisation::ExpectedAverageOnlyIn);
        assert_eq!(average, Scale { value: 0.5, source: ScaleSource::Cache });
        for normalisation in [Normalisation::None, Normalisation::LayerNorm, Normalisation::ConstantNormRescale] {
            assert_eq!(resolve(normalisation), Scale { value: 1.0, source: ScaleSource::None });
        }
    }

    #[test]
    fn the_user_overrides() {
        let average = Normalisation::ExpectedAverageOnlyIn;
        let resolve = |choice: &str| choice.parse::<ScaleChoice>().unwrap().resolve(average, &site(8.0)).unwrap();
        assert_eq!(resolve("none"), Scale { value: 1.0, source: ScaleSource::None });
        assert_eq!(resolve("2.5"), Scale { value: 2.5, source: ScaleSource::Given });
        let forced = ScaleChoice::Auto.resolve(Normalisation::None, &site(8.0)).unwrap();
        assert_eq!(forced, Scale { value: 0.5, source: ScaleSource::Cache });
    }

    #[test]
    fn bad_scales_are_refused() {
        for text in ["0", "-1", "nan", "inf", "automatic", ""] {
            assert!(text.parse::<ScaleChoice>().is_err(), "{text}");
        }
        let error = ScaleChoice::Auto.resolve(Normalisation::None, &site(0.0)).unwrap_err();
        assert!(error.to_string().contains("mean norm"), "{error}");
    }
}
