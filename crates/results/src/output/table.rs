//! The tables on stdout: the study's eight columns with both explained variances, and supporting columns.

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use hayloft_rows::OutlierThreshold;
use hayloft_runtime::words::brief;

use crate::checks::compute_effect::ComputeEffect;
use crate::kl::result::Kl;
use crate::results::names::shortened;
use crate::results::{Results, SaeResult};

/// Longest name that is printed in full; the tables then fit 120 columns.
pub(super) const NAME_WIDTH: usize = 24;

/// Decimals of differences and divergences.
const EFFECT_DECIMALS: usize = 6;

/// Decimals of a metric.
const DECIMALS: usize = 4;

/// Rules above, below and under the headings; none between rows.
pub const RULED: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// Blanks before and after a cell, besides the column separator. A table of nine metrics fits 100 columns.
const PADDING: (u16, u16) = (1, 0);

/// A column: its heading, of one or two lines, and its cell for a result.
pub(super) type Column = (&'static str, fn(&SaeResult) -> String);

/// The study's eight columns, with pooled explained variance next to the study's.
pub(super) const FIGURES: [Column; 9] = [
    ("L0", |result| figure(result.columns.l0)),
    ("CE\nrec. %", |result| percent(result.columns.ce_recovered)),
    ("Clean\nCE", |result| figure(result.columns.ce_clean)),
    ("SAE\nCE", |result| figure(result.columns.ce_sae)),
    ("CE\ndelta", |result| figure(result.columns.ce_delta)),
    ("Zero\nCE", |result| figure(result.columns.ce_zero)),
    ("EV %", |result| percent(result.columns.explained_variance)),
    ("EV\npooled %", |result| percent(result.columns.explained_variance_pooled)),
    ("MSE", |result| figure(result.columns.mse)),
];

/// Definitions of the two explained variances, with SAELens's names. FVU: fraction of variance unexplained.
pub const EXPLAINED_VARIANCES: [&str; 2] = [
    "EV: mean over tokens of 1 − FVU, SAELens's explained_variance_legacy",
    "EV pooled: 1 − Σ‖x − r‖² / Σ‖x − x̄‖², SAELens's explained_variance",
];

/// Supporting columns.
pub(super) const BEHIND: [Column; 5] = [
    ("Raw MSE", |result| figure(result.columns.mse_raw)),
    ("Scale", |result| figure(Some(result.scale))),
    ("Losses", |result| result.columns.loss_tokens.to_string()),
    ("Activations", |result| result.columns.activation_rows.to_string()),
    ("Outliers", |result| result.columns.outlier_rows.to_string()),
];

/// Divergence from the clean run's predictions, nats per token.
pub(super) const DIVERGENCES: [Column; 4] = [
    ("KL", |result| fine(divergence(result, |kl| kl.kl))),
    ("KL ablated", |result| fine(divergence(result, |kl| kl.kl_ablated))),
    ("KL rec. %", |result| percent(divergence(result, |kl| kl.kl_recovered))),
    ("Losses", |result| result.columns.loss_tokens.to_string()),
];

fn divergence(result: &SaeResult, figure: fn(&Kl) -> Option<f64>) -> Option<f64> {
    result.kl.as_ref().and_then(figure)
}

/// Effect of a lower precision on each metric.
pub(super) const EFFECTS: [Column; 6] = [
    ("L0", |result| effect(result, |effect| effect.l0)),
    ("CE rec. %", |result| effect(result, |effect| Some(100.0 * effect.ce_recovered?))),
    ("SAE CE", |result| effect(result, |effect| effect.ce_sae)),
    ("EV %", |result| effect(result, |effect| Some(100.0 * effect.explained_variance?))),
    ("EV pooled %", |result| effect(result, |effect| Some(100.0 * effect.explained_variance_pooled?))),
    ("MSE", |result| effect(result, |effect| effect.mse)),
];

fn effect(result: &SaeResult, figure: fn(&ComputeEffect) -> Option<f64>) -> String {
    let value = result.compute_effect.as_ref().and_then(figure);
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:+.EFFECT_DECIMALS$}"))
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

impl Results {
    /// Renders two tables, at most 120 columns wide for names and numbers of usual length. Where present, further
    /// tables show divergences, intervals, differences between SAEs, and the effect of a lower precision. A line
    /// describes the rounding of a lossy codec.
    pub fn table(&self) -> String {
        let mut text = [self.render(&FIGURES), EXPLAINED_VARIANCES.join("\n"), self.render(&BEHIND)].join("\n");
        if let Some(heading) = self.divergence_heading() {
            text = [text, heading, self.render(&DIVERGENCES)].join("\n");
        }
        if let Some((heading, differences)) = self.interval_headings() {
            text = [text, heading, self.render(self.half_widths())].join("\n");
            if let Some(heading) = differences {
                text = [text, heading, self.render_where(self.differences(), Self::is_apart)].join("\n");
            }
        }
        if let Some(effect) = self.results.iter().find_map(|result| result.compute_effect) {
            let (precision, rows) = (effect.precision, effect.activation_rows);
            let heading = format!("What {precision} did to each figure ({precision} less f32, on {rows} tokens)");
            text = [text, heading, self.render(&EFFECTS)].join("\n");
        }
        for line in self.conventions_in_words() {
            text = format!("{text}\n{line}");
        }
        if let Some(rounding) = self.results.iter().find_map(|result| result.stored_rounding) {
            text = format!("{text}\n{}", rounding.in_words());
        }
        text
    }

    /// Describes conventions that are not the default, outlier thresholds and scale rows, each once.
    pub(super) fn conventions_in_words(&self) -> Vec<String> {
        let first = self.results.first();
        let mut lines = first.map_or_else(Vec::new, |result| result.conventions.in_words(result.sums.excluded_rows));
        for result in &self.results {
            for line in outliers_in_words(result).into_iter().chain(scale_in_words(result)) {
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
        }
        lines
    }

    /// Heading of the divergences, if there are any, with the way they were computed.
    pub(super) fn divergence_heading(&self) -> Option<String> {
        let kl = self.results.iter().find_map(|result| result.kl)?;
        Some(format!("KL(clean || spliced), nats a token: {}", kl.label()))
    }

    pub(super) fn render(&self, columns: &[Column]) -> String {
        self.render_where(columns, |_| true)
    }

    /// Renders a table of the results that `is_shown` accepts.
    fn render_where(&self, columns: &[Column], is_shown: fn(&SaeResult) -> bool) -> String {
        let names: Vec<&str> = self.results.iter().map(|result| result.sae.as_str()).collect();
        let names = shortened(&names, NAME_WIDTH);
        let headings: Vec<&str> =
            ["SAE", "Section"].into_iter().chain(columns.iter().map(|(heading, _)| *heading)).collect();
        let shown = self.results.iter().zip(names).filter(|(result, _)| is_shown(result));
        let rows = shown.map(|(result, name)| {
            let cells = columns.iter().map(|(_, say)| say(result));
            [name, result.section.to_string()].into_iter().chain(cells).collect()
        });
        ruled(&headings, rows, 2)
    }
}

/// Renders a table. The first `left` columns are left-aligned, the others right-aligned.
pub fn ruled(headings: &[&str], rows: impl Iterator<Item = Vec<String>>, left: usize) -> String {
    let mut table = Table::new();
    table.load_style(RULED);
    table.set_header(headings);
    for row in rows {
        table.add_row(row);
    }
    for (place, column) in table.column_iter_mut().enumerate() {
        column.set_padding(PADDING);
        if place >= left {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// Formats a metric with four decimals; a dash if undefined.
pub(super) fn figure(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.DECIMALS$}"))
}

/// Formats a count; a dash if undefined.
pub fn count(value: Option<u64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| value.to_string())
}

/// Formats a possibly small metric with six decimals.
fn fine(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.EFFECT_DECIMALS$}"))
}

pub(super) fn percent(value: Option<f64>) -> String {
    figure(value.map(|fraction| 100.0 * fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_four_decimals() {
        assert_eq!(figure(Some(1.23456)), "1.2346");
        assert_eq!(percent(Some(-26.62)), "-2662.0000");
        assert_eq!(figure(None), "–");
    }
}
