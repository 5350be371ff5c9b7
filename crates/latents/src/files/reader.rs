//! Reads the Parquet files of latents as those of strangers: columns are found by name, and checked for their types.

use std::fmt::Display;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use arrow_array::types::{ArrowPrimitiveType, UInt64Type};
use arrow_array::{Array, ArrayRef, ListArray, PrimitiveArray, RecordBatch, StringArray, StructArray};
use hayloft_store::safe_parquet::{Batches, Limits, ParquetFile};
use parquet::arrow::ProjectionMask;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

use super::table::KEY;
use crate::error::LatentsError;

/// Rows read at a time. Few enough that [`LIMITS`] bounds the size of their texts.
const READ_ROWS: usize = 256;

/// Limits on a file. Numbers may be in any encoding: other tools add columns, and write the file again.
const LIMITS: Limits = Limits { page_bytes: 16 << 20, dictionary_text_bytes: 4 << 10, plain_numbers: false };

/// Limit on the decoded numbers of a file: a base, plus a factor of its size.
const FREE_BYTES: u64 = 64 << 20;
const MOST_RATIO: u64 = 256;

/// Limit on the record of how a file was made, in bytes.
const MOST_ABOUT_BYTES: usize = 4 << 20;

/// Largest count that every reader of JSON takes exactly.
const MOST_COUNT: u64 = 1 << 53;

/// A file whose footer is read.
#[derive(Debug)]
pub(super) struct TableReader {
    path: PathBuf,
    file: ParquetFile<File>,
}

impl TableReader {
    pub(super) fn open(path: &Path) -> Result<Self, LatentsError> {
        let unread = |cause| LatentsError::Read { path: path.to_path_buf(), cause };
        let file = File::open(path).map_err(unread)?;
        let metadata = file.metadata().map_err(unread)?;
        if !metadata.is_file() {
            return Err(unread(io::Error::other("it is not a file")));
        }
        let bytes = metadata.len();
        let file = ParquetFile::open(file, LIMITS).map_err(|error| not_parquet(path, &error))?;
        let most = bytes.saturating_mul(MOST_RATIO).saturating_add(FREE_BYTES);
        let decoded = decoded_bytes(file.metadata());
        if decoded > most {
            let expected = format!("numbers of at most {most} bytes in a file of {bytes}");
            return Err(malformed(path, expected, decoded.to_string()));
        }
        let reader = Self { path: path.to_path_buf(), file };
        match reader.about().map(str::len) {
            Some(length) if length > MOST_ABOUT_BYTES => {
                let expected = format!("a record of at most {MOST_ABOUT_BYTES} bytes of how it was made");
                Err(malformed(path, expected, format!("{length} bytes")))
            }
            _ => Ok(reader),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The JSON that says how the file was made; `None` where a tool that wrote it again left it out.
    pub(super) fn about(&self) -> Option<&str> {
        let pairs = self.file.metadata().file_metadata().key_value_metadata().into_iter().flatten();
        pairs.into_iter().find(|pair| pair.key == KEY).and_then(|pair| pair.value.as_deref())
    }

    pub(super) fn rows(&self) -> u64 {
        u64::try_from(self.file.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    pub(super) fn has(&self, column: &str) -> bool {
        self.file.metadata().file_metadata().schema().get_fields().iter().any(|field| field.name() == column)
    }

    /// Reads the columns of these names that the file has.
    pub(super) fn batches(&self, names: &[&str]) -> Result<RowBatches, LatentsError> {
        let schema = self.file.metadata().file_metadata().schema_descr();
        let fields = schema.root_schema().get_fields().iter().enumerate();
        let wanted = fields.filter(|(_, field)| names.contains(&field.name())).map(|(place, _)| place);
        let batches = self.file.batches(ProjectionMask::roots(schema, wanted), READ_ROWS);
        let batches = batches.map_err(|error| not_parquet(&self.path, &error))?;
        Ok(RowBatches { path: self.path.clone(), batches, rows: 0 })
    }
}

/// The decoded size of a file's numbers, at the width of the widest.
fn decoded_bytes(metadata: &ParquetMetaData) -> u64 {
    let chunks = metadata.row_groups().iter().flat_map(RowGroupMetaData::columns);
    let values = chunks.map(|chunk| u64::try_from(chunk.num_values()).unwrap_or(u64::MAX));
    values.fold(0, u64::saturating_add).saturating_mul(size_of::<u64>() as u64)
}

fn not_parquet(path: &Path, error: &ParquetError) -> LatentsError {
    malformed(path, "a Parquet file as `evaluate latents` writes it", error.to_string())
}

pub(super) fn malformed(path: &Path, expected: impl Into<String>, got: impl Into<String>) -> LatentsError {
    LatentsError::Malformed { path: path.to_path_buf(), expected: expected.into(), got: got.into() }
}

/// The rows of a file, a few at a time.
#[derive(Debug)]
pub(super) struct RowBatches {
    path: PathBuf,
    batches: Batches,
    /// Rows before the next batch.
    rows: u64,
}

impl Iterator for RowBatches {
    type Item = Result<Columns, LatentsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = match self.batches.next()? {
            Ok(batch) => batch,
            Err(error) => return Some(Err(not_parquet(&self.path, &error))),
        };
        let first_row = self.rows;
        self.rows += batch.num_rows() as u64;
        Some(Ok(Columns { path: self.path.clone(), batch, first_row }))
    }
}

impl RowBatches {
    /// The next row, as its place among a few; `at` has those, and how many of them are read.
    pub(super) fn next_row<'at>(
        &mut self,
        at: &'at mut Option<(Columns, usize)>,
    ) -> Result<Option<(&'at Columns, usize)>, LatentsError> {
        while at.as_ref().is_none_or(|(columns, read)| *read == columns.rows()) {
            match self.next().transpose()? {
                Some(columns) => *at = Some((columns, 0)),
                None => return Ok(None),
            }
        }
        Ok(at.as_mut().map(|(columns, read)| {
            *read += 1;
            (&*columns, *read - 1)
        }))
    }
}

/// The columns of a few rows.
#[derive(Debug)]
pub(super) struct Columns {
    path: PathBuf,
    batch: RecordBatch,
    first_row: u64,
}

impl Columns {
    pub(super) fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// An error about a row, which messages count from 0, as Parquet's tools do.
    pub(super) fn wrong(&self, row: usize, expected: impl Into<String>, got: impl Display) -> LatentsError {
        malformed(&self.path, expected, format!("{got} in row {}", self.first_row + row as u64))
    }

    /// A column of a type; `None` if the file has no column of this name.
    pub(super) fn column<A: Array + 'static>(&self, name: &str) -> Result<Option<&A>, LatentsError> {
        let Some(array) = self.batch.column_by_name(name) else { return Ok(None) };
        typed(&self.path, name, array).map(Some)
    }

    /// A column that has to be there, with a value in each row.
    pub(super) fn full<A: Array + 'static>(&self, name: &str) -> Result<&A, LatentsError> {
        let array: &A = self.column(name)?.ok_or_else(|| {
            malformed(&self.path, format!("a column `{name}`, as `evaluate latents` writes it"), "a file without")
        })?;
        full(&self.path, name, array)
    }

    /// A count, which has to be there.
    pub(super) fn count(&self, name: &str, row: usize) -> Result<u64, LatentsError> {
        self.exact(name, row, self.full::<PrimitiveArray<UInt64Type>>(name)?.value(row))
    }

    /// The count, unless it is too large for readers of JSON.
    pub(super) fn exact(&self, name: &str, row: usize, count: u64) -> Result<u64, LatentsError> {
        if count > MOST_COUNT {
            return Err(self.wrong(row, format!("`{name}` of at most {MOST_COUNT}"), count));
        }
        Ok(count)
    }

    /// A figure; `None` where it is undefined, or the file has no such column.
    pub(super) fn figure<T>(&self, name: &str, row: usize) -> Result<Option<T::Native>, LatentsError>
    where
        T: ArrowPrimitiveType,
        T::Native: Into<f64>,
    {
        let array = self.column::<PrimitiveArray<T>>(name)?;
        let Some(value) = array.filter(|array| array.is_valid(row)).map(|array| array.value(row)) else {
            return Ok(None);
        };
        self.finite(name, row, value).map(Some)
    }

    /// The number, unless it is NaN or infinite.
    pub(super) fn finite<N: Into<f64> + Copy>(&self, name: &str, row: usize, number: N) -> Result<N, LatentsError> {
        let wide: f64 = number.into();
        if wide.is_finite() { Ok(number) } else { Err(self.wrong(row, format!("a finite `{name}`"), wide)) }
    }

    /// A text; `None` where it is null, or the file has no such column.
    pub(super) fn text(&self, name: &str, row: usize) -> Result<Option<&str>, LatentsError> {
        let array = self.column::<StringArray>(name)?;
        Ok(array.filter(|array| array.is_valid(row)).map(|array| array.value(row)))
    }

    /// The elements of a list in one row; `None` where it is null, or the file has no such column.
    pub(super) fn list<A: Array + Clone + 'static>(&self, name: &str, row: usize) -> Result<Option<A>, LatentsError> {
        let Some(lists) = self.column::<ListArray>(name)?.filter(|lists| lists.is_valid(row)) else { return Ok(None) };
        typed(&self.path, name, &lists.value(row)).cloned().map(Some)
    }

    /// The structs of a list in one row; `None` where it is null, or the file has no such column.
    pub(super) fn structs(&self, name: &str, row: usize) -> Result<Option<Structs<'_>>, LatentsError> {
        let Some(lists) = self.column::<ListArray>(name)?.filter(|lists| lists.is_valid(row)) else { return Ok(None) };
        let array: &StructArray = full(&self.path, name, typed(&self.path, name, lists.values())?)?;
        let [first, end] = [row, row + 1].map(|place| lists.value_offsets()[place] as usize);
        Ok(Some(Structs { path: &self.path, name: name.to_owned(), array, range: first..end }))
    }

    /// The struct of one row; `None` where it is null, or the file has no such column.
    pub(super) fn structure(&self, name: &str, row: usize) -> Result<Option<Structs<'_>>, LatentsError> {
        let array = self.column::<StructArray>(name)?.filter(|array| array.is_valid(row));
        Ok(array.map(|array| Structs { path: &self.path, name: name.to_owned(), array, range: row..row + 1 }))
    }
}

/// Some structs of a column.
pub(super) struct Structs<'batch> {
    path: &'batch Path,
    name: String,
    array: &'batch StructArray,
    range: Range<usize>,
}

impl<'batch> Structs<'batch> {
    /// A field of each of them.
    pub(super) fn field<A: Array + 'static>(&self, field: &str) -> Result<&'batch A, LatentsError> {
        let name = format!("{}.{field}", self.name);
        let array = self.array.column_by_name(field).ok_or_else(|| {
            malformed(self.path, format!("a field `{name}`, as `evaluate latents` writes it"), "a file without")
        })?;
        typed(self.path, &name, array)
    }

    /// The numbers of a field, none of which may be null.
    pub(super) fn numbers<T: ArrowPrimitiveType>(&self, field: &str) -> Result<Vec<T::Native>, LatentsError> {
        let array: &PrimitiveArray<T> = self.field(field)?;
        if let Some(place) = self.range.clone().find(|place| array.is_null(*place)) {
            let name = &self.name;
            return Err(malformed(self.path, format!("values in `{name}.{field}`"), format!("null at {place}")));
        }
        Ok(array.values()[self.range.clone()].to_vec())
    }

    /// The texts of a field.
    pub(super) fn texts(&self, field: &str) -> Result<Vec<Option<String>>, LatentsError> {
        let array: &StringArray = self.field(field)?;
        let text = |place: usize| array.is_valid(place).then(|| array.value(place).to_owned());
        Ok(self.range.clone().map(text).collect())
    }
}

fn typed<'array, A: Array + 'static>(
    path: &Path,
    name: &str,
    array: &'array ArrayRef,
) -> Result<&'array A, LatentsError> {
    array.as_any().downcast_ref::<A>().ok_or_else(|| {
        let got = format!("`{name}` of {}", array.data_type());
        malformed(path, format!("`{name}` of the type that docs/latents.md gives it"), got)
    })
}

fn full<'array, A: Array>(path: &Path, name: &str, array: &'array A) -> Result<&'array A, LatentsError> {
    match array.null_count() {
        0 => Ok(array),
        nulls => Err(malformed(path, format!("a value in every row of `{name}`"), format!("{nulls} nulls"))),
    }
}
