//! Writing an activation file page by page.
//!
//! Parquet receives encoded pages. Its own column writer would copy each row and compress on a single thread.

use std::io::Write;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, ParquetMetaDataBuilder, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::SchemaDescPtr;

use crate::codec::encoded::{Buffers, Column, EncodedColumn};
use crate::codec::rounding::RoundingError;
use crate::error::{Result, StoreError};
use crate::format::activations::layout::Layout;
use crate::format::tables::columns::CREATED_BY;
use crate::fs::hash::blake3_hex;

const MAGIC: &[u8] = b"PAR1";

/// The Parquet metadata version. The file uses no encodings of version 2.
const PARQUET_VERSION: i32 = 1;

/// Writes one site's row groups in order.
pub(crate) struct ActivationWriter<W: Write + Send> {
    path: PathBuf,
    sink: TrackedWrite<W>,
    layout: Layout,
    schema: SchemaDescPtr,
    row_groups: Vec<RowGroupMetaData>,
    /// Checksums by row group, column and block.
    checksums: Vec<Vec<Vec<u64>>>,
    rounding: Option<RoundingError>,
}

/// The facts to record about a finished file.
#[derive(Debug)]
pub(crate) struct WrittenFile {
    pub(crate) footer_blake3: String,
    /// The rounding error of a lossy codec.
    pub(crate) rounding: Option<RoundingError>,
}

impl<W: Write + Send> ActivationWriter<W> {
    /// Starts the file at `path`, writing to `sink`.
    pub(crate) fn new(path: &Path, sink: W, layout: Layout) -> Result<Self> {
        let mut sink = TrackedWrite::new(sink);
        let schema = layout.schema().map_err(|error| StoreError::writing(path, error))?;
        sink.write_all(MAGIC).map_err(|source| StoreError::io(path, "write", source))?;
        Ok(Self {
            path: path.to_owned(),
            sink,
            layout,
            schema,
            row_groups: Vec::new(),
            checksums: Vec::new(),
            rounding: None,
        })
    }

    pub(crate) fn row_groups(&self) -> usize {
        self.row_groups.len()
    }

    /// Encodes and writes the row group `bits`, which must consist of whole rows.
    pub(crate) fn write(&mut self, bits: &Bytes, buffers: &mut Buffers) -> Result<()> {
        let Layout { codec, dtype, d_model, .. } = self.layout;
        let encoded = codec
            .encode(dtype, d_model, bits, buffers)
            .map_err(|source| StoreError::io(&self.path, "compress", source))?;
        self.checksums.push(encoded.columns.iter().map(|column| column.xxh3.clone()).collect());
        if let Some(rounding) = encoded.rounding {
            self.rounding.get_or_insert_default().add(rounding);
        }
        let rows = bits.len() / self.layout.row_bytes();
        self.write_encoded(rows, encoded.columns).map_err(|error| StoreError::writing(&self.path, error))
    }

    fn write_encoded(&mut self, rows: usize, encoded: Vec<EncodedColumn>) -> Result<(), ParquetError> {
        let start = self.sink.bytes_written();
        let mut chunks = Vec::new();
        for (index, (column, encoded)) in self.layout.columns().into_iter().zip(encoded).enumerate() {
            chunks.push(self.write_column(index, column, rows, encoded)?);
        }
        let decoded: i64 = chunks.iter().map(ColumnChunkMetaData::uncompressed_size).sum();
        let row_group = RowGroupMetaData::builder(self.schema.clone())
            .set_num_rows(rows as i64)
            .set_total_byte_size(decoded)
            .set_column_metadata(chunks)
            .set_file_offset(start as i64)
            .set_ordinal(i32::try_from(self.row_groups.len())?)
            .build()?;
        self.row_groups.push(row_group);
        Ok(())
    }

    fn write_column(
        &mut self,
        index: usize,
        column: Column,
        rows: usize,
        encoded: EncodedColumn,
    ) -> Result<ColumnChunkMetaData, ParquetError> {
        let start = self.sink.bytes_written();
        let mut decoded_bytes = 0;
        let mut pages = SerializedPageWriter::new(&mut self.sink);
        for page in encoded.pages {
            let data = Page::DataPage {
                buf: page.bytes,
                num_values: u32::try_from(page.rows)?,
                encoding: Encoding::PLAIN,
                def_level_encoding: Encoding::RLE,
                rep_level_encoding: Encoding::RLE,
                statistics: None,
            };
            let written = pages.write_page(CompressedPage::new(data, page.decoded_bytes))?;
            decoded_bytes += written.uncompressed_size;
        }
        ColumnChunkMetaData::builder(self.schema.column(index))
            .set_encodings(vec![Encoding::PLAIN, Encoding::RLE])
            .set_compression(Layout::compression(column)?)
            .set_num_values(rows as i64)
            .set_total_compressed_size((self.sink.bytes_written() - start) as i64)
            .set_total_uncompressed_size(decoded_bytes as i64)
            .set_data_page_offset(start as i64)
            .build()
    }

    /// Writes the footer. Returns the sink and the facts to record.
    pub(crate) fn finish(mut self) -> Result<(W, WrittenFile)> {
        let path = self.path.clone();
        let footer = self.footer().map_err(|error| StoreError::writing(&path, error))?;
        self.sink.write_all(&footer).map_err(|source| StoreError::io(&path, "write", source))?;
        // `into_inner` also flushes, but turns an I/O error into text.
        self.sink.flush().map_err(|source| StoreError::io(&path, "write", source))?;
        let sink = self.sink.into_inner().map_err(|error| StoreError::writing(&path, error))?;
        Ok((sink, WrittenFile { footer_blake3: blake3_hex(&footer), rounding: self.rounding }))
    }

    /// Returns the metadata, its length and the closing magic.
    fn footer(&mut self) -> Result<Vec<u8>, ParquetError> {
        let row_groups = std::mem::take(&mut self.row_groups);
        let rows = row_groups.iter().map(RowGroupMetaData::num_rows).sum();
        let key_values = self.layout.key_values(&self.checksums);
        let file = FileMetaData::new(
            PARQUET_VERSION,
            rows,
            Some(CREATED_BY.to_owned()),
            Some(key_values),
            self.schema.clone(),
            None,
        );
        let metadata = ParquetMetaDataBuilder::new(file).set_row_groups(row_groups).build();
        let mut footer = Vec::new();
        ParquetMetaDataWriter::new(&mut footer, &metadata).finish()?;
        Ok(footer)
    }
}
