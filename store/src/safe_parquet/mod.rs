//! Reads untrusted Parquet files in memory bounded by the file's size.
//!
//! ```text
//! footer ─► check: the schema is small and flat, chunks lie in the file, declared sizes fit the file
//!              │
//!              └─► raw pages ─► header checked, decompressed here up to a limit ─► decoded by the Parquet crate
//! ```
//!
//! The Parquet crate allocates the decompressed size that a page declares (up to 2 GiB), and panics on some invalid
//! bytes. Known cases of both are rejected beforehand; `contained` handles the rest.

mod contained;
mod decompress;
mod footer;
mod headers;
mod pages;
mod thrift;

use std::sync::Arc;

use arrow_array::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::arrow::{ProjectionMask, parquet_to_arrow_field_levels};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::ChunkReader;

use self::contained::contained;
pub use self::decompress::is_read;
pub(crate) use self::footer::decode_footer;
pub(crate) use self::headers::CheckedHeaders;
use self::pages::Groups;

/// Limits on a file.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Limit on the decompressed size of a page in bytes. Pages that must be in plain encoding are bounded by their
    /// values instead.
    pub page_bytes: usize,
    /// Limit on the size of a text in a dictionary in bytes, since any number of rows can refer to it.
    pub dictionary_text_bytes: usize,
    /// Whether columns other than text must be in plain encoding, so that a row takes as many bytes in its page as
    /// decoded.
    pub plain_numbers: bool,
}

/// A file whose footer has been read.
#[derive(Debug)]
pub struct ParquetFile<R> {
    file: Arc<R>,
    metadata: Arc<ParquetMetaData>,
    limits: Limits,
}

impl<R: ChunkReader + 'static> ParquetFile<R> {
    /// Reads and checks the footer.
    ///
    /// # Errors
    /// A description of what is wrong with it.
    pub fn open(file: R, limits: Limits) -> Result<Self> {
        let metadata = Arc::new(footer::read(&file)?);
        Ok(Self { file: Arc::new(file), metadata, limits })
    }

    /// The footer's metadata.
    pub fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }

    /// Reads the columns of `mask` in batches of `rows` rows. Uses the types of the Parquet schema and ignores an
    /// embedded Arrow schema.
    ///
    /// # Errors
    /// A description of what is wrong with the schema.
    pub fn batches(&self, mask: ProjectionMask, rows: usize) -> Result<Batches> {
        let schema = self.metadata.file_metadata().schema_descr();
        contained(|| {
            let levels = parquet_to_arrow_field_levels(schema, mask, None)?;
            let groups =
                Groups { file: Arc::clone(&self.file), metadata: Arc::clone(&self.metadata), limits: self.limits };
            let reader = ParquetRecordBatchReader::try_new_with_row_groups(&levels, &groups, rows, None)?;
            Ok(Batches { reader: Some(reader) })
        })
    }
}

/// The rows of a file. Ends at the first error.
#[derive(Debug)]
pub struct Batches {
    reader: Option<ParquetRecordBatchReader>,
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        // A reader that failed is not used again: it may have panicked halfway.
        let mut reader = self.reader.take()?;
        let batch = contained(|| reader.next().transpose().map_err(ParquetError::from)).transpose()?;
        if batch.is_ok() {
            self.reader = Some(reader);
        }
        Some(batch)
    }
}

/// An error with a message.
fn wrong(problem: impl Into<String>) -> ParquetError {
    ParquetError::General(problem.into())
}

#[cfg(test)]
mod tests {
    use arrow_array::{ArrayRef, StringArray, UInt64Array};
    use bytes::Bytes;
    use parquet::arrow::ArrowWriter;
    use parquet::basic::{Compression, ZstdLevel};
    use parquet::file::properties::WriterProperties;

    use super::*;

    const LIMITS: Limits = Limits { page_bytes: 1 << 20, dictionary_text_bytes: 100, plain_numbers: true };

    fn file(column: ArrayRef, dictionary: bool) -> Bytes {
        let batch = RecordBatch::try_from_iter([("column", column)]).unwrap();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_dictionary_enabled(dictionary)
            // One page for all rows: many headers would make the file longer.
            .set_data_page_row_count_limit(usize::MAX)
            .set_data_page_size_limit(usize::MAX);
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties.build())).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        bytes.into()
    }

    fn rows(bytes: Bytes, limits: Limits) -> Result<usize> {
        let batches = ParquetFile::open(bytes, limits)?.batches(ProjectionMask::all(), 1000)?;
        batches.map(|batch| Ok(batch?.num_rows())).sum()
    }

    fn numbers(count: u64) -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values((0..count).map(|_| 7)))
    }

    #[test]
    fn what_a_writer_writes_is_read() {
        assert_eq!(rows(file(numbers(5000), false), LIMITS).unwrap(), 5000);
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..5000).map(|_| "hay")));
        assert_eq!(rows(file(texts, true), LIMITS).unwrap(), 5000);
    }

    #[test]
    fn more_rows_than_a_file_can_hold_are_refused() {
        let bytes = file(numbers(8_000_000), true);
        let error = rows(bytes, LIMITS).unwrap_err().to_string();
        assert!(error.contains("expected columns of at most"), "{error}");
    }

    #[test]
    fn a_long_text_in_a_dictionary_is_refused() {
        let text = "a".repeat(101);
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..5000).map(|_| &text)));
        let error = rows(file(texts, true), LIMITS).unwrap_err().to_string();
        assert!(error.contains("texts of at most 100 bytes in a dictionary, got 101"), "{error}");
    }

    #[test]
    fn a_page_that_comes_out_too_long_is_refused() {
        let text = "a".repeat(2 << 20);
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values([text]));
        let error = rows(file(texts, false), LIMITS).unwrap_err().to_string();
        assert!(error.contains("page of at most 1048576 bytes, got more"), "{error}");
    }

    #[test]
    fn numbers_by_a_dictionary_are_refused_where_they_must_be_plain() {
        let bytes = file(numbers(5000), true);
        assert_eq!(rows(bytes.clone(), Limits { plain_numbers: false, ..LIMITS }).unwrap(), 5000);
        let error = rows(bytes, LIMITS).unwrap_err().to_string();
        assert!(error.contains("expected a column in plain encoding"), "{error}");
    }
}
