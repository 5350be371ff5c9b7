//! Sentences around the tables.

use hayloft_rows::OutlierThreshold;
use hayloft_runtime::words::brief;

use crate::results::{Results, SaeResult};

/// Definitions of the two explained variances, with SAELens's names. FVU: fraction of variance unexplained.
pub const EXPLAINED_VARIANCES: [&str; 2] = [
    "EV: mean over tokens of 1 − FVU, SAELens's explained_variance_legacy",
    "EV pooled: 1 − Σ‖x − r‖² / Σ‖x − x̄‖², SAELens's explained_variance",
];

impl Results {
    /// Heading of the divergences, if there are any, with the method that computed them.
    pub(super) fn divergence_heading(&self) -> Option<String> {
        let kl = self.results.iter().find_map(|result| result.kl)?;
        Some(format!("KL(clean || spliced), nats a token: {}", kl.label()))
    }

    /// Headings of the intervals and, if there are any, of the differences.
    pub(super) fn interval_headings(&self) -> Option<(String, Option<String>)> {
        let all = || self.results.iter().filter_map(|result| result.intervals.as_ref());
        let (fewest, most) = (all().map(|own| own.sequences).min()?, all().map(|own| own.sequences).max()?);
        let sequences = if fewest == most { most.to_string() } else { format!("{fewest} to {most}") };
        let resamples = all().next()?.resamples;
        let of = format!("bootstrap (BCa) over {sequences} sequences, {resamples} resamples");
        let from = all().find_map(|own| own.difference.as_ref()).map(|own| &own.from);
        let differences =
            from.map(|from| format!("Differences from {from} on the same resamples, and half their 95% intervals"));
        Some((format!("Half the 95% intervals: {of}"), differences))
    }

    /// What follows the tables, each once: conventions that are not the default, outlier thresholds, the rows of scales,
    /// and the rounding of a lossy codec.
    pub(super) fn remarks(&self) -> Vec<String> {
        let first = self.results.first();
        let mut lines = first.map_or_else(Vec::new, |result| result.conventions.in_words(result.sums.excluded_rows));
        for result in &self.results {
            for line in outliers_in_words(result).into_iter().chain(scale_in_words(result)) {
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
        }
        lines.extend(self.results.iter().find_map(|result| result.stored_rounding).map(|rounding| rounding.in_words()));
        lines
    }
}

fn outliers_in_words(result: &SaeResult) -> Option<String> {
    let (rule, scaled, raw) = (result.outlier_rule?, result.outlier_norm?, result.outlier_norm_raw?);
    let norm = OutlierThreshold { rule, scaled, raw }.in_words();
    Some(format!("Outliers (--outlier-norm {rule}) have a norm above {norm}"))
}

fn scale_in_words(result: &SaeResult) -> Option<String> {
    let rows = result.scale_rows.as_ref()?;
    Some(format!("The scale {} of {} is over {rows} of the cache", brief(result.scale), result.sae))
}
