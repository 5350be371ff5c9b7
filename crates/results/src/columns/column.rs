//! What is known of a column besides its value.

#[cfg(test)]
use std::fmt::Write;

use hayloft_runtime::UNDEFINED;
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

/// Which of two values of a metric is better, other things equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// The higher.
    High,
    /// The lower.
    Low,
    /// Neither: a count, a baseline, or a quantity that others are traded for.
    Neither,
}

/// The digits that a table shows of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digits {
    /// So many digits behind the point.
    Decimals(usize),
    /// So many significant digits, and all digits before the point.
    Significant(usize),
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
    /// Digits in tables and reports. Files have all.
    pub digits: Digits,
    /// What it depends on; `None` for counts, which have no intervals.
    pub depends_on: Option<DependsOn>,
    /// Whether tables show differences of it: between SAEs, and between precisions.
    pub is_compared: bool,
    /// Which values are better.
    pub better: Better,
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

    /// Whether higher values are better.
    pub fn is_better_high(&self) -> bool {
        self.better == Better::High
    }

    /// The value as tables and reports print it.
    pub fn text(&self, columns: &Columns, kl: Option<&Kl>) -> String {
        format_number(self.shown(self.value(columns, kl)), self.digits)
    }

    /// The heading in one line.
    pub fn line(&self) -> String {
        self.heading.replace('\n', " ")
    }

    /// A value in the printed unit: per cent or as it is.
    pub fn shown(&self, value: Option<f64>) -> Option<f64> {
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
pub fn format_number(value: Option<f64>, digits: Digits) -> String {
    let defined = value.filter(|value| value.is_finite());
    defined.map_or_else(|| UNDEFINED.to_owned(), |value| digits.format(value))
}

impl Digits {
    /// Numbers from here on are written with an exponent.
    const LARGE: f64 = 1e9;

    /// Numbers under this are written with an exponent where significant digits count.
    const SMALL: f64 = 1e-5;

    /// Formats a finite number.
    fn format(self, value: f64) -> String {
        let size = value.abs();
        match self {
            Self::Decimals(decimals) if size < Self::LARGE => format!("{value:.decimals$}"),
            Self::Significant(digits) if size == 0.0 => format!("{value:.*}", digits.saturating_sub(1)),
            Self::Significant(digits) if (Self::SMALL..Self::LARGE).contains(&size) => {
                let decimals = digits as i32 - 1 - size.log10().floor() as i32;
                format!("{value:.*}", decimals.max(0) as usize)
            }
            Self::Decimals(digits) | Self::Significant(digits) => format!("{value:.*e}", digits.saturating_sub(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_their_size_calls_for() {
        for (value, digits, text) in [
            (9.978_6, Digits::Decimals(2), "9.98"),
            (-2662.0, Digits::Decimals(2), "-2662.00"),
            (4e12, Digits::Decimals(0), "4e12"),
            (15.086_9, Digits::Significant(4), "15.09"),
            (-2_345.67, Digits::Significant(4), "-2346"),
            (123_456.7, Digits::Significant(4), "123457"),
            (0.012_345_6, Digits::Significant(4), "0.01235"),
            (1.234_56e-9, Digits::Significant(4), "1.235e-9"),
            (-1.5e300, Digits::Significant(4), "-1.500e300"),
            (0.0, Digits::Significant(4), "0.000"),
        ] {
            assert_eq!(format_number(Some(value), digits), text);
        }
        assert_eq!(format_number(None, Digits::Decimals(2)), "–");
        assert_eq!(format_number(Some(f64::NAN), Digits::Significant(4)), "–");
    }
}
