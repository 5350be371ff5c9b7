//! Reads the rows of a Parquet file in small batches.

use std::fs::File;
use std::io::BufRead as _;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use hayloft_store::FileRecord;
use hayloft_store::safe_parquet::{Batches, Limits, ParquetFile, is_read};
use parquet::arrow::ProjectionMask;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use serde_json::{Map, Value};

use super::fields::Fields;
use super::hashing::DataReader;
use super::lines::DOCUMENT_BYTES;
use super::{DataError, DataFile, FieldPath, LineProblem};

/// Rows decoded at a time; documents may be long.
const BATCH_ROWS: usize = 8;

/// Resource limits of a file. A page holds whole documents. Writers end a dictionary at one mebibyte plus the text that
/// exceeds it.
pub(crate) const LIMITS: Limits =
    Limits { page_bytes: DOCUMENT_BYTES + (4 << 20), dictionary_text_bytes: 16 << 20, plain_numbers: false };

/// Reads a Parquet file. The file is hashed beforehand, because Parquet is not read in order: the footer comes first.
pub(super) struct ParquetRows {
    path: PathBuf,
    record: FileRecord,
    batches: Batches,
    rows: BatchRows,
}

/// Which columns are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadColumns {
    /// The requested columns.
    Wanted,
    /// All columns, because a requested one is missing. Values of unsupported types are null.
    All,
}

/// Returns the value of a key in the file's metadata, without reading rows; `None` if absent.
pub(super) fn metadata(path: &Path, key: &str) -> Result<Option<String>, DataError> {
    let file = open(path)?;
    let pairs = file.metadata().file_metadata().key_value_metadata();
    Ok(pairs.into_iter().flatten().find(|pair| pair.key == key).and_then(|pair| pair.value.clone()))
}

fn open(path: &Path) -> Result<ParquetFile<File>, DataError> {
    let file = File::open(path).map_err(|source| DataError::file(path, "open", source))?;
    ParquetFile::open(file, LIMITS).map_err(|error| damaged(path, &error))
}

fn damaged(path: &Path, error: &ParquetError) -> DataError {
    DataError::Parquet { path: path.to_owned(), problem: error.to_string() }
}

/// Checks that the columns are compressed with codecs that are read. `wanted` are top-level columns; `None` for all.
fn check_codecs(path: &Path, metadata: &ParquetMetaData, wanted: Option<&[usize]>) -> Result<(), DataError> {
    let schema = metadata.file_metadata().schema_descr();
    for group in metadata.row_groups() {
        for (leaf, chunk) in group.columns().iter().enumerate() {
            let is_wanted = wanted.is_none_or(|wanted| wanted.contains(&schema.get_column_root_idx(leaf)));
            if is_wanted && !is_read(chunk.compression()) {
                // The name without a level.
                let codec = chunk.compression().to_string();
                let codec = codec.split('(').next().unwrap_or_default().to_owned();
                return Err(DataError::ParquetCodec { path: path.to_owned(), codec });
            }
        }
    }
    Ok(())
}

impl ParquetRows {
    /// Hashes a file, checks its hash, and positions before its first row. Only the columns of `fields` are read. If a
    /// required one is missing, all columns are read, so that a message can name them.
    pub(super) fn open(file: &DataFile, fields: &Fields) -> Result<Self, DataError> {
        let mut reader = DataReader::open_bytes(file)?;
        file.refuse_other(reader.fill_buf().map_err(|cause| DataError::file(&file.path, "read", cause))?)?;
        let record = reader.finish(file)?;
        let parquet = open(&file.path)?;
        let schema = parquet.metadata().file_metadata().schema_descr();
        let columns = schema.root_schema().get_fields();
        let position = |field: &FieldPath| columns.iter().position(|column| column.name() == field.root());
        let wanted: Option<Vec<usize>> = fields.required.iter().map(position).collect();
        let wanted = wanted.map(|wanted| wanted.into_iter().chain(fields.optional.iter().filter_map(position)));
        let wanted: Option<Vec<usize>> = wanted.map(Iterator::collect);
        check_codecs(&file.path, parquet.metadata(), wanted.as_deref())?;
        let columns = if wanted.is_some() { ReadColumns::Wanted } else { ReadColumns::All };
        let projection = wanted.map_or_else(ProjectionMask::all, |wanted| ProjectionMask::roots(schema, wanted));
        let batches = parquet.batches(projection, BATCH_ROWS).map_err(|error| damaged(&file.path, &error))?;
        Ok(Self { path: file.path.clone(), record, batches, rows: BatchRows::of(columns) })
    }

    /// Returns the plan's record of the file.
    pub(super) fn record(self) -> FileRecord {
        self.record
    }

    /// Returns the next row as an object of its columns.
    pub(super) fn next(&mut self) -> Result<Option<Result<Value, LineProblem>>, DataError> {
        self.rows.next(|| self.batches.next().transpose().map_err(|error| damaged(&self.path, &error)))
    }
}

/// The rows of one record batch after the other.
pub(super) struct BatchRows {
    columns: ReadColumns,
    batch: Option<RecordBatch>,
    next_in_batch: usize,
}

impl BatchRows {
    /// Positions before the first batch.
    pub(super) fn of(columns: ReadColumns) -> Self {
        Self { columns, batch: None, next_in_batch: 0 }
    }

    /// Returns the next row as an object of its columns; `None` where `next_batch` has no further batch.
    pub(super) fn next(
        &mut self,
        mut next_batch: impl FnMut() -> Result<Option<RecordBatch>, DataError>,
    ) -> Result<Option<Result<Value, LineProblem>>, DataError> {
        loop {
            if let Some(batch) = self.batch.as_ref().filter(|batch| self.next_in_batch < batch.num_rows()) {
                let row = self.next_in_batch;
                self.next_in_batch += 1;
                return Ok(Some(object(batch, row, self.columns)));
            }
            self.batch = next_batch()?;
            if self.batch.is_none() {
                return Ok(None);
            }
            self.next_in_batch = 0;
        }
    }
}

/// Returns a row as an object of its columns.
fn object(batch: &RecordBatch, row: usize, columns: ReadColumns) -> Result<Value, LineProblem> {
    let schema = batch.schema_ref();
    let mut fields = Map::new();
    for (column, array) in schema.fields().iter().zip(batch.columns()) {
        match (value(column.name(), array.as_ref(), row), columns) {
            (Ok(value), _) => drop(fields.insert(column.name().to_owned(), value)),
            (Err(_), ReadColumns::All) => drop(fields.insert(column.name().to_owned(), Value::Null)),
            (Err(problem), ReadColumns::Wanted) => return Err(problem),
        }
    }
    Ok(Value::Object(fields))
}

/// Returns a value of a column. Supports the types that hold texts, names and token ids.
fn value(column: &str, array: &dyn Array, row: usize) -> Result<Value, LineProblem> {
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match array.data_type() {
        DataType::Utf8 => text(array.as_string::<i32>().value(row))?,
        DataType::LargeUtf8 => text(array.as_string::<i64>().value(row))?,
        DataType::Boolean => array.as_boolean().value(row).into(),
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).into(),
        DataType::UInt8 => array.as_primitive::<UInt8Type>().value(row).into(),
        DataType::UInt16 => array.as_primitive::<UInt16Type>().value(row).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).into(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).into(),
        DataType::Float32 => array.as_primitive::<Float32Type>().value(row).into(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).into(),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            (0..items.len()).map(|item| value(column, items.as_ref(), item)).collect::<Result<_, _>>()?
        }
        DataType::Struct(_) => {
            let parts = array.as_struct();
            let parts = parts.column_names().into_iter().zip(parts.columns());
            let fields = parts.map(|(name, part)| Ok((name.to_owned(), value(column, part.as_ref(), row)?)));
            Value::Object(fields.collect::<Result<_, _>>()?)
        }
        other => return Err(LineProblem::ColumnType { column: column.to_owned(), got: other.to_string() }),
    })
}

fn text(text: &str) -> Result<Value, LineProblem> {
    if text.len() > DOCUMENT_BYTES {
        return Err(LineProblem::TooLong { limit: DOCUMENT_BYTES });
    }
    Ok(Value::String(text.to_owned()))
}
