//! Rows to compare. Parsing is lenient: an expected row needs only enough keys to identify it, and the known metrics.

use std::path::{Path, PathBuf};

use hayloft_results::COLUMNS;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::CompareError;

/// The keys that identify a row.
const KEYS: [&str; 7] = ["family", "dataset", "section", "sae", "model", "site", "outliers_filtered"];

/// Enough for more than ten thousand rows.
const MAX_BYTES: u64 = 64 << 20;

/// A row of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The file.
    pub file: PathBuf,
    /// Its fields.
    pub fields: Map<String, Value>,
}

/// Names of all columns, divergences among them.
fn names() -> impl Iterator<Item = &'static str> {
    COLUMNS.iter().map(|column| column.name)
}

#[derive(Deserialize)]
struct Rows {
    rows: Vec<Map<String, Value>>,
}

/// Reads expected rows. At least one row must have a metric.
pub fn read_expected(path: &Path) -> Result<Vec<Record>, CompareError> {
    let records = read(path)?;
    if records.iter().all(|record| record.figures().next().is_none()) {
        return Err(CompareError::NoFigures {
            path: path.to_path_buf(),
            columns: names().collect::<Vec<_>>().join(", "),
        });
    }
    Ok(records)
}

/// Reads measured rows from `summary.json` files, or from report folders.
pub fn read_results(paths: &[PathBuf]) -> Result<Vec<Record>, CompareError> {
    let mut records = Vec::new();
    for path in paths {
        records.extend(if path.is_dir() { read(&path.join("summary.json"))? } else { read(path)? });
    }
    Ok(records)
}

fn read(path: &Path) -> Result<Vec<Record>, CompareError> {
    let cannot = |cause| CompareError::Read { path: path.to_path_buf(), cause };
    let bytes = std::fs::metadata(path).map_err(cannot)?.len();
    if bytes > MAX_BYTES {
        return Err(CompareError::TooLarge { path: path.to_path_buf(), limit: MAX_BYTES, bytes });
    }
    let Rows { rows } = serde_json::from_slice(&std::fs::read(path).map_err(cannot)?)
        .map_err(|error| CompareError::Malformed { path: path.to_path_buf(), got: error.to_string() })?;
    Ok(rows.into_iter().map(|fields| Record { file: path.to_path_buf(), fields }).collect())
}

impl Record {
    /// The row's metrics, by column.
    pub(super) fn figures(&self) -> impl Iterator<Item = (&'static str, f64)> + '_ {
        names().filter_map(|column| Some((column, self.figure(column)?)))
    }

    /// A metric, if present and defined.
    pub(super) fn figure(&self, column: &str) -> Option<f64> {
        self.fields.get(column)?.as_f64()
    }

    /// Names of the numbers that are neither columns nor keys.
    pub(super) fn no_columns(&self) -> impl Iterator<Item = &str> {
        let is_none = |name: &&String| !names().any(|column| column == *name) && !KEYS.contains(&name.as_str());
        self.fields
            .iter()
            .filter(|(_, value)| value.is_number())
            .map(|(name, _)| name)
            .filter(is_none)
            .map(String::as_str)
    }

    /// A key, if present and not null.
    pub(super) fn key(&self, key: &str) -> Option<&Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    /// Whether a measured row has every key of this row, with the same value.
    pub(super) fn is_about(&self, measured: &Self) -> bool {
        KEYS.iter().all(|key| self.key(key).is_none_or(|value| measured.key(key) == Some(value)))
    }

    /// The keys as text.
    pub(super) fn place(&self) -> String {
        let words = KEYS.iter().filter_map(|key| {
            Some(match self.key(key)? {
                Value::Bool(true) => "outliers filtered".to_owned(),
                Value::Bool(false) => "outliers kept".to_owned(),
                Value::String(text) if *key == "sae" || *key == "model" => format!("{text} {key}"),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            })
        });
        words.collect::<Vec<_>>().join(", ").replace(char::is_control, " ")
    }
}
