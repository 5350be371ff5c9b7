//! What is known of a column besides its value.

#[cfg(test)]
use std::fmt::Write;

use serde::Serialize;

use super::{COLUMNS, Columns};
use crate::kl::result::Kl;

/// What a metric depends on, which decides whether two SAEs can be compared on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DependsOn {
    /// Losses or divergences: always comparable.
    Predictions,
    /// Activations: comparable if the same rows are outliers.
    Activations,
    /// Activations in scaled space: comparable if the scale is the same too.
    ScaledActivations,
}

/// The table that a column is printed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnTable {
    /// The first table, that of half widths, tables of subsets, and the tables of reports.
    Main,
    /// Supporting numbers and counts.
    Supporting,
    /// Reconstructions; printed with `--metrics all`.
    Reconstructions,
    /// Latents; printed after the reconstructions.
    Latents,
    /// Divergences; their values are in [`Kl`].
    Divergences,
}

/// The breakdowns that have a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokenDown {
    /// None.
    No,
    /// The subsets of the corpus.
    BySubset,
    /// Subsets and positions.
    BySubsetAndPosition,
}

/// A column: a metric's definition, and how and where it is written and printed.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Key in JSON, and heading in CSV.
    pub name: &'static str,
    /// The unit.
    pub unit: &'static str,
    /// The definition, in plain text.
    pub definition: &'static str,
    /// Heading in tables, of one or two lines.
    pub heading: &'static str,
    /// Heading in reports.
    pub title: &'static str,
    /// The table that it is printed in.
    pub table: ColumnTable,
    /// Whether tables show it in per cent. Files hold fractions.
    pub is_percent: bool,
    /// Decimals in tables.
    pub decimals: usize,
    /// Decimals in reports.
    pub report_decimals: usize,
    /// What it depends on; `None` for counts, which have no intervals.
    pub depends_on: Option<DependsOn>,
    /// Whether tables show differences of it: between SAEs, and between precisions.
    pub is_compared: bool,
    /// The breakdowns that have it.
    pub broken_down: BrokenDown,
    /// Reads the value, in the unit.
    pub(super) read: fn(&Columns, Option<&Kl>) -> Option<f64>,
}

/// A value as files hold it: counts as whole numbers, fractions as fractions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ColumnValue {
    /// Of a count.
    Count(u64),
    /// Of a metric; `None` if undefined.
    Metric(Option<f64>),
}

impl Column {
    /// The columns of a table.
    pub fn of(table: ColumnTable) -> impl Iterator<Item = &'static Self> {
        COLUMNS.iter().filter(move |column| column.table == table)
    }

    /// The value in the unit; `None` if undefined. Divergences are undefined without `kl`.
    pub fn value(&self, columns: &Columns, kl: Option<&Kl>) -> Option<f64> {
        (self.read)(columns, kl)
    }

    /// The value as files hold it.
    pub fn exact(&self, columns: &Columns, kl: Option<&Kl>) -> ColumnValue {
        let value = self.value(columns, kl);
        if self.depends_on.is_some() {
            ColumnValue::Metric(value)
        } else {
            ColumnValue::Count(value.unwrap_or(0.0) as u64)
        }
    }

    /// The value as tables print it.
    pub fn text(&self, columns: &Columns, kl: Option<&Kl>) -> String {
        format_number(self.shown(self.value(columns, kl)), self.decimals)
    }

    /// The value as reports print it.
    pub fn report_text(&self, columns: &Columns) -> String {
        format_number(self.shown(self.value(columns, None)), self.report_decimals)
    }

    /// The heading in one line.
    pub fn line(&self) -> String {
        self.heading.replace('\n', " ")
    }

    /// A value in the printed unit: per cent or as it is.
    pub(crate) fn shown(&self, value: Option<f64>) -> Option<f64> {
        value.map(|value| if self.is_percent { 100.0 * value } else { value })
    }

    /// The table of `RESULTS.md`.
    #[cfg(test)]
    pub(super) fn documentation() -> String {
        let mut text = "| column | unit | definition |\n|---|---|---|\n".to_owned();
        for Self { name, unit, definition, .. } in COLUMNS {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| `{name}` | {unit} | {definition} |");
        }
        text
    }
}

/// Formats a number; a dash if undefined.
pub fn format_number(value: Option<f64>, decimals: usize) -> String {
    let defined = value.filter(|value| value.is_finite());
    defined.map_or_else(|| "–".to_owned(), |value| format!("{value:.decimals$}"))
}
