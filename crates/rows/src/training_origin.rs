//! The training record in an SAE's `cfg.json`, under `metadata.hayloft`.

use serde::{Deserialize, Serialize};

use crate::outliers::{OutlierNorm, OutlierThreshold};
use crate::rows::RowChoice;
use crate::scale::ScaleSource;

/// The data, scale and row selection that an SAE was trained with. Training writes it, evaluation reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingOrigin {
    /// Hayloft's version.
    pub version: String,
    /// The corpus of the cache.
    pub corpus: String,
    /// BLAKE3 of the cache's `manifest.json`.
    pub cache_manifest_blake3: String,
    /// SHA-256 of the model's identity, if the cache knows its model.
    pub model_sha256: Option<String>,
    /// c, the factor on activations.
    pub scale: f64,
    /// The source of c.
    pub scale_source: ScaleSource,
    /// The rows that c is computed over, if not all of the cache.
    pub scale_rows: Option<RowChoice>,
    /// The rows of the training set.
    pub rows: TrainedRows,
}

/// The rows that an SAE was trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainedRows {
    /// Sections and excluded tokens.
    #[serde(flatten)]
    pub choice: RowChoice,
    /// The threshold above which rows were left out.
    pub outlier_norm: Option<OutlierThreshold>,
}

impl TrainingOrigin {
    /// The outlier threshold of the training, if it had one.
    pub fn outliers(&self) -> Option<OutlierThreshold> {
        self.rows.outlier_norm
    }

    /// Returns the training's outlier rule if the run's rule leaves out other rows. `is_scaled`: the SAE receives
    /// scaled activations, so that a rule in scaled space means the same for every model.
    pub fn other_outliers(&self, run: Option<&OutlierThreshold>, is_scaled: bool) -> Option<OtherOutliers> {
        let trained = self.outliers()?;
        let near = |run: f64, trained: f64| (run / trained - 1.0).abs() < SAME;
        let same = match trained.rule {
            OutlierNorm::MedianMultiple(_) => trained.rule,
            OutlierNorm::Scaled(_) if is_scaled => trained.rule,
            OutlierNorm::Scaled(_) | OutlierNorm::Raw(_) => OutlierNorm::Raw(trained.raw),
        };
        let is_same = |run: &OutlierThreshold| match same {
            OutlierNorm::Scaled(norm) => near(run.scaled, norm),
            OutlierNorm::Raw(norm) => near(run.raw, norm),
            OutlierNorm::MedianMultiple(_) => run.rule == same || near(run.raw, trained.raw),
        };
        (!run.is_some_and(is_same)).then_some(OtherOutliers { trained, same })
    }
}

/// A training whose outlier rule differs from the run's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OtherOutliers {
    trained: OutlierThreshold,
    /// The rule with which the run leaves out what the training did.
    same: OutlierNorm,
}

impl OtherOutliers {
    /// Describes both rules, and the `--outlier-norm` that makes the run match the training.
    pub fn beside(&self, run: Option<&OutlierThreshold>) -> String {
        let run = run.map_or_else(
            || "this run leaves none out for their norm".to_owned(),
            |run| format!("this run leaves out those above {} (--outlier-norm {})", run.in_words(), run.rule),
        );
        let Self { trained: OutlierThreshold { rule, .. }, same } = self;
        format!(
            "the SAE was trained without activations of a norm above {} (--outlier-norm {rule}), and {run}: --outlier-norm {same} leaves out what the training did",
            self.trained.in_words(),
        )
    }

    /// Describes the mismatch as the likely cause of too many outliers.
    pub fn cause(&self) -> String {
        let Self { trained: OutlierThreshold { rule, .. }, same } = self;
        format!(
            "the SAE was trained with --outlier-norm {rule} in another scale: --outlier-norm {same} leaves out what the training did"
        )
    }
}

/// Relative tolerance below which two norms are equal, for rounding in text.
const SAME: f64 = 1e-6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exclusion::ExcludeChoice;

    fn origin(rule: Option<&str>, scale: f64, raw_median: f64) -> TrainingOrigin {
        TrainingOrigin {
            version: "0.1.0".to_owned(),
            corpus: "text".to_owned(),
            cache_manifest_blake3: "ab".to_owned(),
            model_sha256: Some("cd".to_owned()),
            scale,
            scale_source: ScaleSource::Cache,
            scale_rows: None,
            rows: TrainedRows {
                choice: RowChoice { sections: Vec::new(), exclude: ExcludeChoice::Bos },
                outlier_norm: rule.and_then(|rule| threshold(rule, scale, raw_median)),
            },
        }
    }

    fn threshold(rule: &str, scale: f64, median: f64) -> Option<OutlierThreshold> {
        let rule: OutlierNorm = rule.parse().unwrap();
        rule.resolve(scale, Some(crate::MedianRule { multiple: rule.number(), median }))
    }

    #[test]
    fn a_scaled_threshold_denotes_another_norm_once_the_scale_is_folded() {
        let origin = origin(Some("20"), 0.125, 1.0);
        let say = |rule: &str, scale| {
            let run = threshold(rule, scale, 1.0);
            origin.other_outliers(run.as_ref(), false).map(|other| other.beside(run.as_ref()))
        };
        let said = say("20", 1.0).unwrap();
        assert!(said.contains("above 20 in scaled space, 160 in the model's own (--outlier-norm 20)"), "{said}");
        assert!(
            said.contains("above 20 in scaled space, 20 in the model's own") && said.contains("--outlier-norm 160raw"),
            "{said}"
        );
        assert_eq!((say("160raw", 1.0), say("160", 1.0), say("20", 0.125)), (None, None, None));
        let said = origin.other_outliers(None, false).unwrap().beside(None);
        assert!(said.contains("leaves none out") && said.contains("--outlier-norm 160raw"), "{said}");
    }

    #[test]
    fn one_rule_in_scaled_space_is_the_same_for_any_model() {
        let of_norm = origin(Some("20"), 0.125, 1.0);
        let say = |rule: &str, scale| of_norm.other_outliers(threshold(rule, scale, 1.0).as_ref(), true);
        assert_eq!(say("20", 0.5), None);
        assert_eq!(say("30", 0.5).unwrap().same, OutlierNorm::Scaled(20.0));
        let of_median = origin(Some("10xmedian"), 0.125, 4.0);
        assert_eq!(of_median.other_outliers(threshold("10xmedian", 1.0, 7.0).as_ref(), false), None);
        assert!(of_median.other_outliers(threshold("5xmedian", 1.0, 7.0).as_ref(), false).is_some());
    }

    #[test]
    fn without_a_rule_there_is_no_message() {
        assert_eq!(origin(None, 0.5, 1.0).other_outliers(threshold("20", 1.0, 1.0).as_ref(), false), None);
    }

    #[test]
    fn a_record_round_trips_and_one_without_rows_is_refused() {
        let origin = origin(Some("870raw"), 0.1, 1.0);
        let mut value = serde_json::to_value(&origin).unwrap();
        assert_eq!(value["rows"]["outlier_norm"]["rule"], "870raw");
        assert_eq!(serde_json::from_value::<TrainingOrigin>(value.clone()).unwrap(), origin);
        value.as_object_mut().unwrap().remove("rows");
        let error = serde_json::from_value::<TrainingOrigin>(value).unwrap_err();
        assert!(error.to_string().contains("missing field `rows`"), "{error}");
    }
}
