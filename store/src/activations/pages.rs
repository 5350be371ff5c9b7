//! The pages of one column of one row group, as they lie in the mapped file.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, Encoding};
use parquet::column::page::{Page, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::serialized_reader::SerializedPageReader;
use xxhash_rust::xxh3::Xxh3;
use zstd::bulk::Decompressor;

use crate::codec::Column;
use crate::error::{Result, StoreError};

/// A column of a row group within a mapped file.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) column: Column,
    /// Where its pages are. It says that they are uncompressed, whatever they are, so that Parquet hands them out as
    /// views of the map and the decompression, with its sizes, is ours to bound.
    metadata: ColumnChunkMetaData,
    pub(crate) xxh3: u64,
}

impl Chunk {
    /// Checks a footer's description of the column, which must have `rows` rows before `data_end` in the file.
    pub(crate) fn check(
        path: &Path,
        row_group: usize,
        column: Column,
        metadata: &ColumnChunkMetaData,
        rows: usize,
        data_end: usize,
        xxh3: u64,
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
}

/// Goes through a chunk's decoded bytes, hashing them as it goes.
pub(crate) struct Pages<'a> {
    path: &'a Path,
    row_group: usize,
    chunk: &'a Chunk,
    reader: SerializedPageReader<Bytes>,
    decompressor: Option<Decompressor<'static>>,
    hasher: Xxh3,
    rows_left: usize,
    /// The decoded bytes of a compressed page, reused from page to page.
    decoded: Vec<u8>,
}

/// A page's decoded bytes: a view of the map, or what was decompressed.
pub(crate) enum Decoded<'a> {
    View(Bytes),
    Buffer(&'a [u8]),
}

impl<'a> Pages<'a> {
    pub(crate) fn new(
        path: &'a Path,
        file: &Arc<Bytes>,
        row_group: usize,
        chunk: &'a Chunk,
        rows: usize,
    ) -> Result<Self> {
        let damaged =
            |error: ParquetError| StoreError::damaged_column(path, row_group, chunk.column.name, "pages", error);
        let reader = SerializedPageReader::new(Arc::clone(file), &chunk.metadata, rows, None).map_err(damaged)?;
        let decompressor = if chunk.column.compressed {
            let new = Decompressor::new();
            Some(new.map_err(|source| StoreError::io(path, "start to decompress", source))?)
        } else {
            None
        };
        let hasher = Xxh3::new();
        Ok(Self { path, row_group, chunk, reader, decompressor, hasher, rows_left: rows, decoded: Vec::new() })
    }

    /// The next page's decoded bytes, a whole number of rows of the column's width. Never more than the row group has
    /// rows left for, whatever the page claims.
    pub(crate) fn next(&mut self) -> Result<Decoded<'_>> {
        let Chunk { column, .. } = self.chunk;
        let (path, row_group) = (self.path, self.row_group);
        let damaged =
            |expected: String, got: String| StoreError::damaged_column(path, row_group, column.name, expected, got);
        let due = format!("a page of at most {} rows", self.rows_left);
        let page = match self.reader.get_next_page() {
            Ok(Some(page)) => page,
            Ok(None) => return Err(damaged(due, "no page".to_owned())),
            Err(error) => return Err(damaged(due, error.to_string())),
        };
        let Page::DataPage { buf, num_values, encoding: Encoding::PLAIN, .. } = page else {
            return Err(damaged("a PLAIN data page".to_owned(), format!("{:?}", page.page_type())));
        };
        let rows = num_values as usize;
        if rows == 0 || rows > self.rows_left {
            return Err(damaged(due, format!("one of {rows}")));
        }
        self.rows_left -= rows;
        let bytes = rows * column.width;
        let Some(decompressor) = &mut self.decompressor else {
            if buf.len() != bytes {
                return Err(damaged(format!("{bytes} bytes for {rows} rows"), buf.len().to_string()));
            }
            self.hasher.update(&buf);
            return Ok(Decoded::View(buf));
        };
        // A frame that would come out longer than this does not fit and is an error.
        self.decoded.resize(bytes, 0);
        match decompressor.decompress_to_buffer(&buf, self.decoded.as_mut_slice()) {
            Ok(got) if got == bytes => {}
            Ok(got) => return Err(damaged(format!("{bytes} bytes for {rows} rows"), got.to_string())),
            Err(error) => return Err(damaged(format!("{bytes} bytes for {rows} rows"), error.to_string())),
        }
        self.hasher.update(&self.decoded);
        Ok(Decoded::Buffer(&self.decoded))
    }

    /// The whole column: a view of the map where it is one page, as this crate writes it.
    pub(crate) fn contiguous(mut self) -> Result<Bytes> {
        let first = match self.next()? {
            Decoded::View(bytes) => bytes,
            Decoded::Buffer(bytes) => Bytes::copy_from_slice(bytes),
        };
        if self.rows_left == 0 {
            self.finish()?;
            return Ok(first);
        }
        let mut whole = first.to_vec();
        while self.rows_left > 0 {
            whole.extend_from_slice(self.next()?.as_ref());
        }
        self.finish()?;
        Ok(whole.into())
    }

    /// Checks, once all rows have been read, that no page is left over and that the bytes are those written.
    pub(crate) fn finish(self) -> Result<()> {
        let (column, expected) = (self.chunk.column.name, self.chunk.xxh3);
        let damaged = |expected: String, got: String| {
            StoreError::damaged_column(self.path, self.row_group, column, expected, got)
        };
        let mut reader = self.reader;
        match reader.get_next_page() {
            Ok(None) => {}
            Ok(Some(_)) => return Err(damaged("no page after the last row".to_owned(), "one".to_owned())),
            Err(error) => return Err(damaged("no page after the last row".to_owned(), error.to_string())),
        }
        let got = self.hasher.digest();
        if got != expected {
            return Err(damaged(format!("XXH3 {expected:016x}"), format!("{got:016x}")));
        }
        Ok(())
    }
}

impl AsRef<[u8]> for Decoded<'_> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::View(bytes) => bytes,
            Self::Buffer(bytes) => bytes,
        }
    }
}
