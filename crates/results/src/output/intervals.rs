//! Tables of intervals and of differences between SAEs.

use super::table::{Column, NAME_WIDTH};
use crate::bootstrap::Intervals;
use crate::results::names::shortened;
use crate::results::{Results, SaeResult};

/// Half the interval width of each metric of the first table.
const HALF_WIDTHS: [Column; 10] = [
    ("L0", |result| half_width(result, "l0", 1.0)),
    ("CE\nrec. %", |result| half_width(result, "ce_recovered", 100.0)),
    ("Clean\nCE", |result| half_width(result, "ce_clean", 1.0)),
    ("SAE\nCE", |result| half_width(result, "ce_sae", 1.0)),
    ("CE\ndelta", |result| half_width(result, "ce_delta", 1.0)),
    ("Zero\nCE", |result| half_width(result, "ce_zero", 1.0)),
    ("EV %", |result| half_width(result, "explained_variance", 100.0)),
    ("EV\npooled %", |result| half_width(result, "explained_variance_pooled", 100.0)),
    ("MSE", |result| half_width(result, "mse", 1.0)),
    ("KL", |result| half_width(result, "kl", 1.0)),
];

/// The difference of each metric that depends on the SAE, and half the width of its interval.
const DIFFERENCES: [Column; 7] = [
    ("L0", |result| difference(result, "l0", 1.0)),
    ("CE rec. %", |result| difference(result, "ce_recovered", 100.0)),
    ("SAE CE", |result| difference(result, "ce_sae", 1.0)),
    ("EV %", |result| difference(result, "explained_variance", 100.0)),
    ("EV pooled %", |result| difference(result, "explained_variance_pooled", 100.0)),
    ("MSE", |result| difference(result, "mse", 1.0)),
    ("KL", |result| difference(result, "kl", 1.0)),
];

impl Results {
    /// Headings of the intervals and, if there are any, of the differences.
    pub(super) fn interval_headings(&self) -> Option<(String, Option<String>)> {
        let all = || self.results.iter().filter_map(|result| result.intervals.as_ref());
        let (fewest, most) = (all().map(|own| own.sequences).min()?, all().map(|own| own.sequences).max()?);
        let sequences = if fewest == most { most.to_string() } else { format!("{fewest} to {most}") };
        let resamples = all().next()?.resamples;
        let of = format!("bootstrap (BCa) over {sequences} sequences, {resamples} resamples");
        let from =
            all().find_map(|own| own.difference.as_ref()).map(|own| shortened(&[&own.from], NAME_WIDTH).concat());
        let differences =
            from.map(|from| format!("Differences from {from} on the same resamples, and half their 95% intervals"));
        Some((format!("Half the 95% intervals: {of}"), differences))
    }

    /// The columns of half widths, without KL if it was not requested.
    pub(super) fn half_widths(&self) -> &'static [Column] {
        self.with_kl_or_without(&HALF_WIDTHS)
    }

    /// The columns of differences, without KL if it was not requested.
    pub(super) fn differences(&self) -> &'static [Column] {
        self.with_kl_or_without(&DIFFERENCES)
    }

    /// Drops the last column, KL, if no result has it.
    fn with_kl_or_without(&self, columns: &'static [Column]) -> &'static [Column] {
        let has_kl = self.results.iter().any(|result| result.kl.is_some());
        if has_kl { columns } else { &columns[..columns.len() - 1] }
    }

    /// Whether a result has a difference.
    pub(super) fn is_apart(result: &SaeResult) -> bool {
        result.intervals.as_ref().is_some_and(|own| own.difference.is_some())
    }
}

fn half_width(result: &SaeResult, figure: &str, factor: f64) -> String {
    let interval = result.intervals.as_ref().and_then(|Intervals { figures, .. }| figures.get(figure));
    interval.map_or_else(|| "–".to_owned(), |interval| format!("±{:.4}", factor * interval.half_width()))
}

/// Two lines: the difference and half the width of its interval.
fn difference(result: &SaeResult, figure: &str, factor: f64) -> String {
    let difference = result.intervals.as_ref().and_then(|own| own.difference.as_ref()?.figures.get(figure));
    difference.map_or_else(
        || "–".to_owned(),
        |own| format!("{:+.4}\n±{:.4}", factor * own.difference, factor * own.interval.half_width()),
    )
}
