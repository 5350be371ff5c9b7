//! The factor c that multiplies the residual before it enters an SAE.

use std::fmt;
use std::str::FromStr;

use hayloft_runtime::words::did_you_mean;
use hayloft_store::{Cache, SiteRecord};
use serde::{Deserialize, Serialize};

use crate::error::RowsError;
use crate::kept_norms::mean_norm;
use crate::rows::RowChoice;

/// SAELens's name for the normalisation that multiplies activations by c.
const AVERAGE_NORM: &str = "expected_average_only_in";

/// The requested scale as the user writes it: a number, `none` or `auto`. The scale belongs to the evaluated model, not to the SAE.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum ScaleChoice {
    /// For an SAE with `expected_average_only_in`, the cache's scale over the rows that the SAE's training recorded, or
    /// else over all rows; 1 for any other SAE.
    #[default]
    FollowSae,
    /// `sqrt(d_model) / mean norm` of all rows of the cache, for every SAE. Training uses [`Self::KeptRows`] instead.
    Auto,
    /// The same over the rows that sections and exclusions keep, for every SAE.
    KeptRows,
    /// 1 for every SAE.
    None,
    /// This number for every SAE. Finite and above zero.
    Given(f64),
}

/// The source of a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScaleSource {
    /// The mean norm of all rows of the cache.
    Cache,
    /// The mean norm of some rows of the cache.
    KeptRows,
    /// Given by the user.
    Given,
    /// No scale: c is 1.
    None,
}

impl ScaleSource {
    /// Whether an SAE with this normalisation receives activations in the scaled space of its training.
    pub fn is_scaled(self, normalisation: &str) -> bool {
        self != Self::None && normalisation == AVERAGE_NORM
    }
}

/// A scale and its source.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    /// c. Residuals are multiplied by it, reconstructions divided.
    pub value: f64,
    /// The source of c.
    pub source: ScaleSource,
    /// The rows that c is computed over; `None` means all rows of the cache, or that c does not come from the cache.
    pub rows: Option<RowChoice>,
}

/// How to compute a scale from a cache.
#[derive(Debug, Clone, PartialEq)]
pub enum ScaleRule {
    /// c is 1.
    One,
    /// c is this number.
    Given(f64),
    /// `sqrt(d_model) / mean norm` of all rows.
    AllRows,
    /// `sqrt(d_model) / mean norm` of these rows.
    Rows(RowChoice),
}

impl ScaleChoice {
    /// Help of an option that takes a scale.
    pub const HELP: &'static str = "Multiply activations by this before the SAE: a number, none, or auto, sqrt(d_model) / \
        mean norm of the cache's activations. In `train` and `finetune` auto is over the rows that --section and --exclude \
        keep, as sinks such as BOS would set the scale of all others; in `run` it is over all rows, as in SAELens, so that \
        all sections have one scale [default: for SAEs that want expected_average_only_in auto over the rows that their \
        training recorded, else over all; none for others and for new SAEs]";

    /// The rule for an SAE with this input normalisation, by SAELens's name. `recorded` are the rows that the SAE's
    /// files name for its scale; `kept` are the rows that sections and exclusions keep.
    pub fn rule(self, normalisation: &str, recorded: Option<&RowChoice>, kept: &RowChoice) -> ScaleRule {
        let wants_average = normalisation == AVERAGE_NORM;
        match self {
            Self::FollowSae if wants_average => recorded.map_or(ScaleRule::AllRows, ScaleRule::over),
            Self::FollowSae | Self::None => ScaleRule::One,
            Self::Auto => ScaleRule::AllRows,
            Self::KeptRows => ScaleRule::over(kept),
            Self::Given(value) => ScaleRule::Given(value),
        }
    }
}

impl ScaleRule {
    fn over(rows: &RowChoice) -> Self {
        if rows.is_everything() { Self::AllRows } else { Self::Rows(rows.clone()) }
    }

    /// Computes the scale of a site. A selection of rows needs the tables of all shards. `special` returns the special
    /// tokens of the cache's tokenizer: see [`Excluded::of`](crate::Excluded::of).
    pub fn on<E: From<RowsError>>(
        &self,
        cache: &Cache,
        site: &SiteRecord,
        special: impl FnOnce() -> Result<Vec<u32>, E>,
    ) -> Result<Scale, E> {
        let rows = match self {
            Self::One => return Ok(Scale { value: 1.0, source: ScaleSource::None, rows: None }),
            Self::Given(value) => return Ok(Scale { value: *value, source: ScaleSource::Given, rows: None }),
            Self::AllRows => return Ok(of_all_rows(site)?),
            Self::Rows(rows) => rows,
        };
        let norm = mean_norm(cache, &site.name, &rows.on(cache, special)?).map_err(RowsError::from)?;
        let Some(norm) = norm.filter(|norm| *norm > 0.0) else {
            let held = cache.manifest().held.sections.iter();
            let held: Vec<String> = held.map(|(section, tokens)| format!("{section} ({tokens})")).collect();
            return Err(RowsError::NoRowsForScale {
                cache: cache.folder().to_path_buf(),
                rows: rows.to_string(),
                available: held.join(", "),
            }
            .into());
        };
        let value = (site.d_model as f64).sqrt() / norm;
        Ok(Scale { value, source: ScaleSource::KeptRows, rows: Some(rows.clone()) })
    }
}

fn of_all_rows(site: &SiteRecord) -> Result<Scale, RowsError> {
    let value = site.scale();
    if value.is_finite() && value > 0.0 {
        return Ok(Scale { value, source: ScaleSource::Cache, rows: None });
    }
    Err(RowsError::NoScale { site: site.name.to_string(), mean_norm: site.mean_norm })
}

impl FromStr for ScaleChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "none" => Ok(Self::None),
            number => match number.parse::<f64>() {
                Ok(value) if value.is_finite() && value > 0.0 => Ok(Self::Given(value)),
                _ => {
                    let near = did_you_mean(number, ["auto", "none"]);
                    Err(format!("expected auto, none or a number above zero, got {number}{near}"))
                }
            },
        }
    }
}

impl fmt::Display for ScaleChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FollowSae => formatter.write_str("what each SAE asks for"),
            Self::Auto => formatter.write_str("auto"),
            Self::KeptRows => formatter.write_str("auto over the rows that are kept"),
            Self::None => formatter.write_str("none"),
            Self::Given(value) => value.fmt(formatter),
        }
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value;
        match self.source {
            ScaleSource::None => formatter.write_str("none"),
            ScaleSource::Given => write!(formatter, "{value} (given)"),
            ScaleSource::Cache | ScaleSource::KeptRows => {
                let rows = self.rows.clone().unwrap_or_default();
                write!(formatter, "{value} (sqrt(d_model) / mean norm of {rows} of the cache)")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exclusion::ExcludeChoice;

    fn without_bos() -> RowChoice {
        RowChoice { sections: Vec::new(), exclude: ExcludeChoice::Bos }
    }

    #[test]
    fn the_default_follows_the_sae() {
        let average = AVERAGE_NORM;
        let rule = |normalisation, recorded: Option<RowChoice>| {
            ScaleChoice::FollowSae.rule(normalisation, recorded.as_ref(), &without_bos())
        };
        assert_eq!(rule(average, None), ScaleRule::AllRows);
        assert_eq!(rule(average, Some(RowChoice::default())), ScaleRule::AllRows);
        assert_eq!(rule(average, Some(without_bos())), ScaleRule::Rows(without_bos()));
        for normalisation in ["none", "layer_norm", "constant_norm_rescale"] {
            assert_eq!(rule(normalisation, Some(without_bos())), ScaleRule::One);
        }
    }

    #[test]
    fn the_users_choice_takes_precedence() {
        let average = AVERAGE_NORM;
        let rule = |choice: ScaleChoice| choice.rule(average, Some(&without_bos()), &RowChoice::default());
        assert_eq!(rule("none".parse().unwrap()), ScaleRule::One);
        assert_eq!(rule("2.5".parse().unwrap()), ScaleRule::Given(2.5));
        assert_eq!(rule("auto".parse().unwrap()), ScaleRule::AllRows);
        assert_eq!(rule(ScaleChoice::KeptRows), ScaleRule::AllRows);
        let kept = ScaleChoice::KeptRows.rule("none", None, &without_bos());
        assert_eq!(kept, ScaleRule::Rows(without_bos()));
    }

    #[test]
    fn all_rows_have_the_scale_of_the_manifest() {
        let site = |mean_norm| {
            let name = "blocks.0.hook_resid_pre".parse().unwrap();
            SiteRecord {
                name,
                d_model: 16,
                rows: 1,
                non_finite_rows: 0,
                mean_norm,
                mean: vec![0.0; 16],
                rounding: None,
            }
        };
        let scale = of_all_rows(&site(8.0)).unwrap();
        assert_eq!(scale, Scale { value: 0.5, source: ScaleSource::Cache, rows: None });
        assert!(scale.to_string().contains("all rows of the cache"), "{scale}");
        let error = of_all_rows(&site(0.0)).unwrap_err();
        assert!(error.to_string().contains("mean norm"), "{error}");
    }

    #[test]
    fn bad_scales_are_refused() {
        for text in ["0", "-1", "nan", "inf", "automatic", ""] {
            assert!(text.parse::<ScaleChoice>().is_err(), "{text}");
        }
    }
}
