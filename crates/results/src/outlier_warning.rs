//! Warning about an outlier rule that leaves out too many rows.

use std::fmt::Write as _;

use hayloft_rows::{LeftOut, OtherOutliers, OutlierNorm, OutlierThreshold, ScaleSource};
use hayloft_runtime::words::brief;

use crate::histograms::NormHistogram;

/// More outliers than one row in this many cause a warning.
const ONE_IN: u64 = 10;

/// Row counts of a section.
#[derive(Debug)]
pub struct RowCounts<'run> {
    /// Rows that metrics on activations cover.
    pub kept: u64,
    /// Rows that they leave out.
    pub left: LeftOut,
    /// Finite norms of all rows of the section, unscaled.
    pub norms: &'run NormHistogram,
}

impl RowCounts<'_> {
    /// Returns a warning if more than a tenth of the rows are outliers or no row is kept. It gives counts, norms and
    /// the likely cause. `other` is the training's outlier rule, if it differs.
    pub fn warning(
        &self,
        threshold: Option<&OutlierThreshold>,
        source: ScaleSource,
        other: Option<OtherOutliers>,
    ) -> Option<String> {
        let Self { kept, left, norms } = self;
        let all = kept + left.outliers + left.excluded;
        if all == 0 || (*kept > 0 && ONE_IN * left.outliers <= all) {
            return None;
        }
        let kept = if *kept == 0 { "none".to_owned() } else { format!("only {kept}") };
        let mut text = format!(
            "{kept} of {all} rows are kept: {} are outliers, {} are left out for their tokens",
            left.outliers, left.excluded
        );
        if left.non_finite > 0 {
            let _ = write!(text, ". {} of the outliers are NaN or infinite", left.non_finite);
        }
        let quantile = |share| norms.quantile(share).map(brief_norm);
        if let (Some(median), Some(low), Some(high)) = (quantile(0.5), quantile(0.1), quantile(0.9)) {
            let _ = write!(
                text,
                ". Norms in the model's own space are about {median} (median), {low} and {high} (10th and 90th percentile)"
            );
        }
        if let Some(threshold) = threshold.filter(|_| left.outliers > left.non_finite) {
            let OutlierThreshold { rule, .. } = threshold;
            let _ = write!(text, "; outliers are above {} (--outlier-norm {rule})", threshold.in_words());
            let cause = other.map(|other| other.cause()).or_else(|| cause(*threshold, source));
            text.extend(cause.map(|cause| format!(". Likely cause: {cause}")));
        }
        Some(text)
    }
}

/// The likely cause, other than the SAE's training.
fn cause(threshold: OutlierThreshold, source: ScaleSource) -> Option<String> {
    match (threshold.rule, source) {
        (OutlierNorm::Scaled(_), ScaleSource::None) => Some(
            "a bare number is a norm in scaled space, of c times the activation, and c is 1 here. If it was meant for activations scaled to a norm of sqrt(d_model), give the norm in the model's own space (--outlier-norm 870raw), a multiple of the median (--outlier-norm 10xmedian), or the scale (--scale)".to_owned(),
        ),
        (OutlierNorm::Raw(norm), _) => Some(format!(
            "{norm} is a norm in the model's own space. If it was meant in scaled space, leave `raw` out"
        )),
        (OutlierNorm::Scaled(_) | OutlierNorm::MedianMultiple(_), _) => None,
    }
}

fn brief_norm(norm: f64) -> String {
    brief(if norm >= 100.0 { norm.round() } else { (norm * 100.0).round() / 100.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn norms() -> NormHistogram {
        let mut norms = NormHistogram::default();
        (0..1000).for_each(|row| norms.add(150.0 + f64::from(row % 20)));
        norms
    }

    fn warning(kept: u64, outliers: u64, rule: &str, scale: f64) -> Option<String> {
        let norms = norms();
        let left = LeftOut { outliers, excluded: 1000 - kept - outliers, ..LeftOut::default() };
        let threshold = rule.parse::<OutlierNorm>().unwrap().resolve(scale, None);
        let source = if scale < 1.0 { ScaleSource::Cache } else { ScaleSource::None };
        RowCounts { kept, left, norms: &norms }.warning(threshold.as_ref(), source, None)
    }

    #[test]
    fn where_none_is_kept_counts_norms_and_the_cause_are_named() {
        let text = warning(0, 1000, "20", 1.0).unwrap();
        assert!(text.starts_with("none of 1000 rows are kept: 1000 are outliers"), "{text}");
        assert!(text.contains("20 in scaled space, 20 in the model's own (--outlier-norm 20)"), "{text}");
        assert!(text.contains("about 152 (median), 152 and 168 (10th") && text.contains("c is 1 here"), "{text}");
        assert!(warning(0, 1000, "12raw", 0.1).unwrap().contains("leave `raw` out"));
    }

    #[test]
    fn a_tenth_may_be_outliers_and_no_more() {
        assert_eq!(warning(900, 100, "20", 0.1), None);
        assert!(warning(899, 101, "20", 0.1).unwrap().starts_with("only 899 of 1000"));
        // Excluded tokens are not outliers.
        assert_eq!(warning(1, 0, "20", 0.1), None);
        assert!(warning(0, 0, "20", 0.1).unwrap().contains("1000 are left out for their tokens"));
    }

    #[test]
    fn what_is_not_finite_is_counted_and_has_no_threshold() {
        let norms = norms();
        let left = LeftOut { outliers: 1000, non_finite: 1000, excluded: 0 };
        let threshold = OutlierNorm::Scaled(20.0).resolve(1.0, None);
        let counts = RowCounts { kept: 0, left, norms: &norms };
        let text = counts.warning(threshold.as_ref(), ScaleSource::None, None).unwrap();
        assert!(text.contains("1000 of the outliers are NaN") && !text.contains("--outlier-norm"), "{text}");
    }
}
