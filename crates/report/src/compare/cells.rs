//! Comparison of metrics.

use std::collections::BTreeMap;

use serde::Serialize;

use super::error::CompareError;
use super::read::Record;
use super::tolerance::Tolerances;

/// The outcome of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Every expected metric, by row and column.
    pub cells: Vec<Cell>,
    /// Measured rows that match no expected row.
    pub not_expected: Vec<String>,
    /// Number of measured metrics without an expected value, by column: those of unmatched rows, and those that the
    /// matching expected row lacks.
    pub not_expected_figures: BTreeMap<&'static str, usize>,
    /// Numbers of expected rows that are not columns and were not compared, by name.
    pub no_columns: BTreeMap<String, usize>,
}

/// The comparison of one metric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cell {
    /// The row's keys, as text.
    pub row: String,
    /// The column's name.
    pub column: &'static str,
    /// The expected value.
    pub expected: f64,
    /// The measured value, if there is one and it is defined.
    pub got: Option<f64>,
    /// Measured − expected.
    pub difference: Option<f64>,
    /// The largest allowed difference.
    pub allowed: f64,
    /// The outcome.
    pub verdict: Verdict,
}

/// The outcome of one comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Within the tolerance.
    Agrees,
    /// Beyond the tolerance.
    Differs,
    /// Not measured, or undefined.
    Missing,
}

impl Comparison {
    /// The number of cells with this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.cells.iter().filter(|cell| cell.verdict == verdict).count()
    }
}

/// Compares every expected metric with the measured one of the same keys.
pub fn compare(expected: &[Record], measured: &[Record], tolerances: &Tolerances) -> Result<Comparison, CompareError> {
    let (mut cells, mut no_columns) = (Vec::new(), BTreeMap::new());
    for record in expected {
        for name in record.no_columns() {
            *no_columns.entry(name.to_owned()).or_default() += 1;
        }
        let mut same = measured.iter().filter(|measured| record.is_about(measured));
        let found = same.next();
        let more = same.count();
        if more > 0 {
            let (path, row, count) = (record.file.clone(), record.place(), more + 1);
            return Err(CompareError::Ambiguous { path, row, count });
        }
        for (column, expected) in record.figures() {
            let got = found.and_then(|found| found.figure(column));
            cells.push(cell(record.place(), column, expected, got, tolerances.allowed(column, expected)));
        }
    }
    let is_expected = |measured: &&Record| expected.iter().any(|record| record.is_about(measured));
    let not_expected = measured.iter().filter(|record| !is_expected(record)).map(Record::place).collect();
    let mut not_expected_figures = BTreeMap::new();
    for record in measured {
        let about: Vec<&Record> = expected.iter().filter(|expected| expected.is_about(record)).collect();
        let is_compared = |column: &str| about.iter().any(|expected| expected.figure(column).is_some());
        for (column, _) in record.figures().filter(|(column, _)| !is_compared(column)) {
            *not_expected_figures.entry(column).or_default() += 1;
        }
    }
    Ok(Comparison { cells, not_expected, not_expected_figures, no_columns })
}

fn cell(row: String, column: &'static str, expected: f64, got: Option<f64>, allowed: f64) -> Cell {
    let difference = got.map(|got| got - expected);
    let verdict = match difference {
        None => Verdict::Missing,
        Some(difference) if difference.abs() <= allowed => Verdict::Agrees,
        Some(_) => Verdict::Differs,
    };
    Cell { row, column, expected, got, difference, allowed, verdict }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::{Value, json};

    use super::*;

    fn records(rows: Value) -> Vec<Record> {
        let rows: Vec<serde_json::Map<String, Value>> = serde_json::from_value(rows).unwrap();
        rows.into_iter().map(|fields| Record { file: PathBuf::from("rows.json"), fields }).collect()
    }

    fn verdicts(expected: Value, measured: Value) -> Vec<(&'static str, Verdict)> {
        let found = compare(&records(expected), &records(measured), &Tolerances::new(&[])).unwrap();
        found.cells.iter().map(|cell| (cell.column, cell.verdict)).collect()
    }

    #[test]
    fn cells_agree_differ_or_are_missing() {
        let expected = json!([{"sae": "base", "l0": 20.0, "mse": 2.0, "ce_clean": 1.0, "ce_sae": null, "note": 3}]);
        let measured =
            json!([{"sae": "base", "family": "x", "l0": 20.003, "mse": 2.001, "ce_clean": null, "ce_sae": 1.0}]);
        assert_eq!(
            verdicts(expected, measured),
            [("l0", Verdict::Agrees), ("ce_clean", Verdict::Missing), ("mse", Verdict::Differs)]
        );
    }

    #[test]
    fn a_row_that_was_not_measured_is_missing_in_every_cell() {
        let expected = json!([{"sae": "chat", "l0": 20.0, "mse": 2.0}]);
        assert_eq!(
            verdicts(expected, json!([{"sae": "base", "l0": 20.0}])),
            [("l0", Verdict::Missing), ("mse", Verdict::Missing)]
        );
    }

    #[test]
    fn measured_rows_that_are_not_expected_are_named() {
        let measured = records(json!([{"sae": "base", "model": "chat", "outliers_filtered": true, "l0": 1.0}]));
        let found = compare(&records(json!([{"sae": "chat", "l0": 1.0}])), &measured, &Tolerances::new(&[])).unwrap();
        assert_eq!(found.not_expected, ["base sae, chat model, outliers filtered"]);
    }

    #[test]
    fn measured_figures_that_are_not_expected_are_counted_and_numbers_that_are_no_column_are_named() {
        let expected =
            records(json!([{"sae": "base", "l0": 1.0, "mse": null, "ce_recoverd": 0.9, "scale": 1.0, "note": "x"}]));
        let measured = records(json!([
            {"sae": "base", "l0": 1.0, "mse": 2.0, "ce_sae": null, "scale": 1.0},
            {"sae": "chat", "l0": 1.0, "mse": 2.0},
        ]));
        let found = compare(&expected, &measured, &Tolerances::new(&[])).unwrap();
        assert_eq!(found.not_expected_figures, [("l0", 1), ("mse", 2)].into());
        assert_eq!(found.no_columns, [("ce_recoverd".to_owned(), 1), ("scale".to_owned(), 1)].into());
        let told = found.not_compared_in_words().join("\n");
        assert!(
            told.contains("3 measured figures") && told.contains("mse (2)") && told.contains("ce_recoverd"),
            "{told}"
        );
        let whole = compare(&measured, &measured, &Tolerances::new(&[])).unwrap();
        assert!(whole.not_expected_figures.is_empty());
    }

    #[test]
    fn a_row_that_fits_several_is_refused() {
        let measured = records(json!([{"sae": "base", "model": "chat"}, {"sae": "base", "model": "base"}]));
        let error =
            compare(&records(json!([{"sae": "base", "l0": 1.0}])), &measured, &Tolerances::new(&[])).unwrap_err();
        assert!(error.to_string().contains("base sae, which fits 2"), "{error}");
    }
}
