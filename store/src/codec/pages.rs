//! Columns and pages that are read: those of one row group in the mapped file.

use std::cell::RefCell;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use hayloft_runtime::Dtype;
use parquet::basic::{Compression, Encoding};
use parquet::column::page::{Page, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::serialized_reader::SerializedPageReader;
use zstd::bulk::Decompressor;

use crate::codec::encoded::Column;
use crate::error::{Result, StoreError};
use crate::safe_parquet::CheckedHeaders;

/// A column chunk of a mapped file.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) column: Column,
    /// The chunk's metadata. It is always marked as uncompressed, so that Parquet returns pages as views of the map and
    /// this crate bounds the decompression.
    metadata: ColumnChunkMetaData,
    /// Checksum of the decoded bytes of each block.
    xxh3: Vec<u64>,
}

impl Chunk {
    /// Checks the footer's description of the chunk, which must have `rows` rows and end before `data_end`.
    pub(crate) fn check(
        path: &Path,
        row_group: usize,
        column: Column,
        metadata: &ColumnChunkMetaData,
        rows: usize,
        data_end: usize,
        xxh3: Vec<u64>,
    ) -> Result<Self> {
        let damaged =
            |expected: String, got: String| StoreError::damaged_column(path, row_group, column.name, expected, got);
        if metadata.num_values() != rows as i64 {
            return Err(damaged(format!("{rows} values"), metadata.num_values().to_string()));
        }
        let compressed = matches!(metadata.compression(), Compression::ZSTD(_));
        if compressed != column.compressed || (!compressed && metadata.compression() != Compression::UNCOMPRESSED) {
            let expected = if column.compressed { "ZSTD" } else { "UNCOMPRESSED" };
            return Err(damaged(expected.to_owned(), metadata.compression().to_string()));
        }
        let (start, length) = (metadata.data_page_offset(), metadata.compressed_size());
        let range = usize::try_from(start).ok().zip(usize::try_from(length).ok());
        let end = range.and_then(|(start, length)| start.checked_add(length));
        if metadata.dictionary_page_offset().is_some() || end.is_none_or(|end| end > data_end) {
            let got = format!("{length} bytes from {start}");
            return Err(damaged(format!("data pages before byte {data_end}"), got));
        }
        let metadata = metadata
            .clone()
            .into_builder()
            .set_compression(Compression::UNCOMPRESSED)
            .build()
            .map_err(|error| damaged("a column chunk".to_owned(), error.to_string()))?;
        Ok(Self { column, metadata, xxh3 })
    }

    /// Returns the byte range of the chunk's pages in the file.
    pub(crate) fn range(&self) -> Range<usize> {
        let start = self.metadata.data_page_offset() as usize;
        start..start + self.metadata.compressed_size() as usize
    }
}

/// A block to be decoded: some rows of a row group, in the pages of each column.
pub(crate) struct Block<'a> {
    pub(crate) dtype: Dtype,
    pub(crate) d_model: usize,
    /// Pages of each column, in the order of the codec's columns.
    pub(crate) columns: &'a [Pages<'a>],
    /// Its number in the row group.
    pub(crate) index: usize,
    /// Its rows, counted from the start of the row group.
    pub(crate) rows: Range<usize>,
}

impl<'a> Block<'a> {
    /// Returns the columns, as many as the codec has.
    pub(crate) fn columns<const N: usize>(&self) -> Result<&'a [Pages<'a>; N]> {
        self.columns.try_into().map_err(|_| StoreError::invalid("columns", N, self.columns.len()))
    }
}

/// A page of a column as stored in the file.
#[derive(Debug)]
pub(crate) struct StoredPage {
    pub(crate) first_row: usize,
    pub(crate) rows: usize,
    /// A view of the map: the rows, or a ZSTD frame of them.
    bytes: Bytes,
}

/// The pages of a chunk, with parsed headers. They hold exactly the rows of the row group, and nothing follows them.
/// Their bytes are unverified until [`Self::check`].
pub(crate) struct Pages<'a> {
    path: &'a Path,
    row_group: usize,
    chunk: &'a Chunk,
    found: Vec<StoredPage>,
}

impl<'a> Pages<'a> {
    pub(crate) fn find(
        path: &'a Path,
        file: &Arc<Bytes>,
        row_group: usize,
        chunk: &'a Chunk,
        rows: usize,
    ) -> Result<Self> {
        let damaged =
            |error: ParquetError| StoreError::damaged_column(path, row_group, chunk.column.name, "pages", error);
        let mut reader =
            SerializedPageReader::new(CheckedHeaders::of(file), &chunk.metadata, rows, None).map_err(damaged)?;
        let mut pages = Self { path, row_group, chunk, found: Vec::new() };
        let mut rows_left = rows;
        while rows_left > 0 {
            let page = pages.next(&mut reader, rows - rows_left, rows_left)?;
            rows_left -= page.rows;
            pages.found.push(page);
        }
        match reader.get_next_page() {
            Ok(None) => Ok(pages),
            Ok(Some(_)) => Err(pages.damaged("no page after the last row", "one")),
            Err(error) => Err(pages.damaged("no page after the last row", error)),
        }
    }

    fn next(
        &self,
        reader: &mut SerializedPageReader<CheckedHeaders<Bytes>>,
        first_row: usize,
        rows_left: usize,
    ) -> Result<StoredPage> {
        let due = || format!("a page of at most {rows_left} rows");
        let page = match reader.get_next_page() {
            Ok(Some(page)) => page,
            Ok(None) => return Err(self.damaged(due(), "no page")),
            Err(error) => return Err(self.damaged(due(), error)),
        };
        let Page::DataPage { buf: bytes, num_values, encoding: Encoding::PLAIN, .. } = page else {
            return Err(self.damaged("a PLAIN data page", page.page_type()));
        };
        let rows = num_values as usize;
        if rows == 0 || rows > rows_left {
            return Err(self.damaged(due(), format!("one of {rows}")));
        }
        let Column { width, compressed, .. } = self.chunk.column;
        if !compressed && bytes.len() != rows * width {
            return Err(self.damaged(format!("{} bytes for {rows} rows", rows * width), bytes.len()));
        }
        Ok(StoredPage { first_row, rows, bytes })
    }

    fn damaged(&self, expected: impl ToString, got: impl ToString) -> StoreError {
        StoreError::damaged_column(self.path, self.row_group, self.chunk.column.name, expected, got)
    }

    /// Returns the pages that hold `rows`, in order.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if a page straddles the boundary of the range.
    pub(crate) fn over(&self, rows: Range<usize>) -> Result<&[StoredPage]> {
        let from = self.found.partition_point(|page| page.first_row < rows.start);
        let to = self.found.partition_point(|page| page.first_row < rows.end);
        let pages = &self.found[from..to];
        let begin = pages.first().map_or(0, |page| page.first_row);
        let end = pages.last().map_or(0, |page| page.first_row + page.rows);
        if !pages.is_empty() && (begin, end) == (rows.start, rows.end) {
            return Ok(pages);
        }
        let expected = format!("pages from row {} up to row {}", rows.start, rows.end);
        Err(self.damaged(expected, format!("pages from row {begin} up to row {end}")))
    }

    /// Decompresses a page of this column into `decoded`, which must have exactly the size of its rows.
    pub(crate) fn decompress(&self, page: &StoredPage, decoded: &mut [u8]) -> Result<()> {
        thread_local! {
            static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
        }
        let expected = decoded.len();
        // A frame that decodes to more bytes is an error.
        let got = DECOMPRESSOR.with_borrow_mut(|decompressor| {
            let decompressor = match decompressor {
                Some(decompressor) => decompressor,
                None => decompressor.insert(Decompressor::new()?),
            };
            decompressor.decompress_to_buffer(&page.bytes, decoded)
        });
        let due = || format!("{expected} bytes for {} rows", page.rows);
        match got {
            Ok(got) if got == expected => Ok(()),
            Ok(got) => Err(self.damaged(due(), got)),
            Err(error) => Err(self.damaged(due(), error)),
        }
    }

    /// Returns some rows of an uncompressed column. A view of the map if they are in one page, as this crate writes
    /// them.
    pub(crate) fn stored(&self, rows: Range<usize>) -> Bytes {
        let width = self.chunk.column.width;
        let pages = self.found.iter().filter_map(|page| {
            let from = rows.start.saturating_sub(page.first_row).min(page.rows);
            let to = rows.end.saturating_sub(page.first_row).min(page.rows);
            (from < to).then(|| page.bytes.slice(from * width..to * width))
        });
        let parts: Vec<Bytes> = pages.collect();
        match parts.as_slice() {
            [part] => part.clone(),
            parts => parts.concat().into(),
        }
    }

    /// Compares the XXH3-64 of the decoded bytes of a block, `got`, with the stored checksum.
    pub(crate) fn check(&self, block: usize, got: u64) -> Result<()> {
        match self.chunk.xxh3.get(block) {
            Some(expected) if *expected == got => Ok(()),
            Some(expected) => Err(self.damaged(format!("XXH3 {expected:016x}"), format!("{got:016x}"))),
            None => Err(self.damaged(format!("{} blocks", self.chunk.xxh3.len()), "one more")),
        }
    }
}
