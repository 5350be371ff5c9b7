//! Writing of both tables, and extraction of their columns.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::error::{Result, StoreError};
use crate::safe_parquet::{Limits, ParquetFile};

/// Rows of a table's row group, which the writer holds in memory at a time.
pub(crate) const BATCH_ROWS: usize = 1 << 16;

/// Rows read at a time. Few enough that [`LIMITS`] bounds the size of their strings.
const READ_ROWS: usize = 1 << 13;

/// Limits on a table. The writer ends a page of strings at 1 MiB, plus the batch of a thousand rows that reaches it.
const LIMITS: Limits = Limits { page_bytes: 8 << 20, dictionary_text_bytes: MOST_TEXT_BYTES, plain_numbers: true };

/// Maximum length of a subset's name, in bytes.
pub(crate) const MOST_TEXT_BYTES: usize = 1 << 12;

/// The `created_by` of every Parquet file. It carries no version, so that every release of the same format writes the
/// same bytes.
pub(crate) const CREATED_BY: &str = "hayloft";

pub(crate) fn field(name: &str, data_type: DataType, nullable: bool) -> Field {
    Field::new(name, data_type, nullable)
}

/// Writes a table batch by batch.
///
/// The sink is borrowed: on returning an owned sink, Parquet would turn an I/O error of the last write into text, and a
/// full disk could not be distinguished.
pub(crate) struct TableWriter<'a, W: Write + Send> {
    writer: ArrowWriter<&'a mut W>,
    schema: SchemaRef,
}

impl<'a, W: Write + Send> TableWriter<'a, W> {
    /// Starts a table. `repetitive` names the columns with few distinct strings, which are dictionary-encoded.
    pub(crate) fn new(path: &Path, sink: &'a mut W, fields: Vec<Field>, repetitive: &[&str]) -> Result<Self> {
        let level = ZstdLevel::try_new(1).map_err(|error| StoreError::writing(path, error))?;
        let mut properties = WriterProperties::builder()
            .set_created_by(CREATED_BY.to_owned())
            .set_compression(Compression::ZSTD(level))
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_offset_index_disabled(true)
            .set_max_row_group_row_count(Some(BATCH_ROWS));
        for name in repetitive {
            properties = properties.set_column_dictionary_enabled(ColumnPath::from(*name), true);
        }
        let schema = Arc::new(Schema::new(fields));
        // Omits the Arrow schema from the footer, so that the file is plain Parquet.
        let options = ArrowWriterOptions::new().with_properties(properties.build()).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(sink, Arc::clone(&schema), options)
            .map_err(|error| StoreError::writing(path, error))?;
        Ok(Self { writer, schema })
    }

    pub(crate) fn write(&mut self, path: &Path, columns: Vec<ArrayRef>) -> Result<()> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| StoreError::invalid(path.display(), "columns that fit the table", error))?;
        self.writer.write(&batch).map_err(|error| StoreError::writing(path, error))
    }

    pub(crate) fn finish(self, path: &Path) -> Result<()> {
        self.writer.close().map(|_| ()).map_err(|error| StoreError::writing(path, error))
    }
}

/// Reads the named columns of a table of `rows` rows, batch by batch.
pub(crate) fn read_columns(
    path: &Path,
    bytes: Bytes,
    rows: u64,
    names: &[&str],
    mut take: impl FnMut(&RecordBatch) -> Result<()>,
) -> Result<()> {
    let malformed = |got: String| malformed(path, &format!("a table of {rows} rows with {}", names.join(", ")), got);
    let file = ParquetFile::open(bytes, LIMITS).map_err(|error| malformed(error.to_string()))?;
    let got_rows = file.metadata().file_metadata().num_rows();
    if u64::try_from(got_rows).ok() != Some(rows) {
        return Err(malformed(format!("{got_rows} rows")));
    }
    // `ProjectionMask::columns` would take dots in a name for nesting.
    let schema = file.metadata().file_metadata().schema_descr();
    let columns = schema.columns().iter().enumerate();
    let wanted = columns.filter(|(_, column)| names.contains(&column.name())).map(|(index, _)| index);
    let mask = ProjectionMask::leaves(schema, wanted);
    let mut seen = 0;
    for batch in file.batches(mask, READ_ROWS).map_err(|error| malformed(error.to_string()))? {
        let batch = batch.map_err(|error| malformed(error.to_string()))?;
        seen += batch.num_rows() as u64;
        take(&batch)?;
    }
    if seen == rows { Ok(()) } else { Err(malformed(format!("{seen} rows"))) }
}

/// Returns the column `name` of a batch as the Arrow array type `A`.
pub(crate) fn column<'a, A: Array + 'static>(path: &Path, batch: &'a RecordBatch, name: &str) -> Result<&'a A> {
    let found = batch.column_by_name(name);
    let typed = found.and_then(|array| array.as_any().downcast_ref::<A>());
    typed.ok_or_else(|| {
        let got = found.map_or_else(|| "none".to_owned(), |array| format!("one of {}", array.data_type()));
        malformed(path, &format!("a column `{name}` of the type that the format gives it"), got)
    })
}

/// Returns the column `name` of a batch, which must have no nulls.
pub(crate) fn full_column<'a, A: Array + 'static>(path: &Path, batch: &'a RecordBatch, name: &str) -> Result<&'a A> {
    let array: &A = column(path, batch, name)?;
    match array.null_count() {
        0 => Ok(array),
        nulls => Err(malformed(path, &format!("a value in every row of `{name}`"), format!("{nulls} without"))),
    }
}

/// Returns the error for a table that is intact but not in the expected format.
pub(crate) fn malformed(path: &Path, expected: &str, got: impl Into<String>) -> StoreError {
    StoreError::Malformed { path: path.to_owned(), expected: expected.to_owned(), got: got.into() }
}
