//! Row selection and row order.

use std::collections::HashMap;

use serde::Deserialize;

use super::fields::Fields;
use super::numpy_random::permutation;
use super::rows::{Content, Row, RowReader, RowsRead};
use super::{DataError, DataManifest, FieldPath};

/// Which rows are used, and their order. Applied in this sequence: the order, then `first`, then `empty_field`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// The row order.
    pub order: RowOrder,
    /// Use only the first rows, up to this number.
    pub first: Option<u64>,
    /// Of those, use only rows in which this field is empty.
    pub empty_field: Option<FieldPath>,
}

/// The row order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RowOrder {
    /// File order.
    #[default]
    Files,
    /// The order of the `datasets` library's `shuffle(seed)`: `numpy.random.default_rng(seed).permutation(rows)`.
    Shuffled {
        /// The seed.
        seed: u64,
    },
    /// These rows in this order. Numbers are indices among all rows of the files, from 0.
    Rows(Vec<u64>),
}

/// The `[selection]` table as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenSelection {
    shuffle_seed: Option<u64>,
    first: Option<u64>,
    rows: Option<Vec<u64>>,
    empty_field: Option<FieldPath>,
}

impl WrittenSelection {
    /// Resolves the table. An error holds the key, the expected value and the value found.
    pub(super) fn resolve(self) -> Result<Selection, (&'static str, &'static str, String)> {
        if self.first == Some(0) {
            return Err(("selection.first", "at least 1", "0".to_owned()));
        }
        let order = match (self.shuffle_seed, self.rows) {
            (Some(_), Some(rows)) => {
                let expected = "no shuffle_seed beside it, for the list is an order already";
                return Err(("selection.rows", expected, format!("{} rows and a seed", rows.len())));
            }
            (Some(seed), None) => RowOrder::Shuffled { seed },
            (None, None) => RowOrder::Files,
            (None, Some(rows)) => {
                let mut sorted = rows.clone();
                sorted.sort_unstable();
                if rows.is_empty() || sorted.windows(2).any(|pair| pair[0] == pair[1]) {
                    let expected = "at least one row, and each once";
                    return Err(("selection.rows", expected, format!("{} with some repeated, or none", rows.len())));
                }
                RowOrder::Rows(rows)
            }
        };
        Ok(Selection { order, first: self.first, empty_field: self.empty_field })
    }
}

/// Reads the selected rows of a data manifest in order.
///
/// In file order, rows are read one at a time. For any other order, the files are read to the end first, and the
/// selected rows are held in memory. A shuffle must count all rows before it can select them, so it reads files twice.
pub(super) struct SelectedRows<'manifest> {
    manifest: &'manifest DataManifest,
    rows: Rows<'manifest>,
    passed: u64,
}

enum Rows<'manifest> {
    Streamed(Box<RowReader<'manifest>>),
    Gathered { rows: std::vec::IntoIter<Row<'manifest>>, read: RowsRead },
}

impl<'manifest> SelectedRows<'manifest> {
    /// Positions before the first row. `fields` are the fields that will be used.
    pub(super) fn open(manifest: &'manifest DataManifest, mut fields: Fields) -> Result<Self, DataError> {
        fields.required.extend(manifest.selection.empty_field.clone());
        let mut reader = RowReader::open(manifest, fields.clone())?;
        let rows = match &manifest.selection.order {
            RowOrder::Files => Rows::Streamed(Box::new(reader)),
            RowOrder::Rows(rows) => {
                let gathered = gather(manifest, &mut reader, rows)?;
                Rows::Gathered { rows: gathered.into_iter(), read: reader.finish()? }
            }
            RowOrder::Shuffled { seed } => {
                let mut count = 0;
                while reader.next()?.is_some() {
                    count += 1;
                }
                let read = reader.finish()?;
                let too_many = || DataError::TooManyRows { path: manifest.path.clone(), rows: count, limit: u32::MAX };
                let length = u32::try_from(count).ok().filter(|count| *count < u32::MAX).ok_or_else(too_many)?;
                let used = manifest.selection.first.unwrap_or(count).min(count) as usize;
                let order: Vec<u64> = permutation(*seed, length).into_iter().take(used).map(u64::from).collect();
                let mut reader = RowReader::open(manifest, fields)?;
                Rows::Gathered { rows: gather(manifest, &mut reader, &order)?.into_iter(), read }
            }
        };
        Ok(Self { manifest, rows, passed: 0 })
    }

    /// Returns the next row.
    pub(super) fn next(&mut self) -> Result<Option<Row<'manifest>>, DataError> {
        let selection = &self.manifest.selection;
        loop {
            if selection.first.is_some_and(|first| self.passed >= first) {
                return Ok(None);
            }
            let row = match &mut self.rows {
                Rows::Streamed(reader) => reader.next()?,
                Rows::Gathered { rows, .. } => rows.next(),
            };
            let Some(row) = row else { return Ok(None) };
            self.passed += 1;
            let Some(field) = &selection.empty_field else { return Ok(Some(row)) };
            let empty = match &row.content {
                // A text file has no fields.
                Content::Text(_) => true,
                Content::Fields(_) => row.text(field, "selection.empty_field")?.is_none_or(str::is_empty),
            };
            if empty {
                return Ok(Some(row));
            }
        }
    }

    /// Ends reading, early or not; see [`RowReader::finish`].
    pub(super) fn finish(self) -> Result<RowsRead, DataError> {
        match self.rows {
            Rows::Streamed(reader) => reader.finish(),
            Rows::Gathered { read, .. } => Ok(read),
        }
    }
}

/// Reads the rows with these numbers, in this order.
fn gather<'manifest>(
    manifest: &DataManifest,
    reader: &mut RowReader<'manifest>,
    order: &[u64],
) -> Result<Vec<Row<'manifest>>, DataError> {
    let places: HashMap<u64, usize> = order.iter().enumerate().map(|(place, row)| (*row, place)).collect();
    let mut found: Vec<Option<Row<'manifest>>> = order.iter().map(|_| None).collect();
    let mut left = order.len();
    let mut rows = 0;
    while left > 0 {
        let Some(row) = reader.next()? else { break };
        rows += 1;
        if let Some(place) = places.get(&row.index) {
            found[*place] = Some(row);
            left -= 1;
        }
    }
    let missing = |row: u64| DataError::NoSuchRow { path: manifest.path.clone(), row, rows };
    found.into_iter().zip(order).map(|(row, number)| row.ok_or_else(|| missing(*number))).collect()
}
