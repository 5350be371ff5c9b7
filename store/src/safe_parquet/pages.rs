//! Reads raw pages, decompresses them within limits and checks what the Parquet crate does not.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parquet::arrow::arrow_reader::RowGroups;
use parquet::basic::{Compression, Encoding, Type as PhysicalType};
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::Result;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::ChunkReader;
use parquet::file::serialized_reader::SerializedPageReader;

use super::decompress::decompress;
use super::footer::width;
use super::headers::CheckedHeaders;
use super::{Limits, wrong};

/// The row groups of a file with a checked footer.
pub(super) struct Groups<R> {
    pub(super) file: Arc<R>,
    pub(super) metadata: Arc<ParquetMetaData>,
    pub(super) limits: Limits,
}

impl<R: ChunkReader + 'static> RowGroups for Groups<R> {
    fn num_rows(&self) -> usize {
        usize::try_from(self.metadata.file_metadata().num_rows()).unwrap_or(0)
    }

    fn column_chunks(&self, column: usize) -> Result<Box<dyn PageIterator>> {
        let mut chunks = VecDeque::new();
        for group in self.metadata.row_groups() {
            let chunk = group.columns().get(column).ok_or_else(|| wrong("expected every column in every row group"))?;
            chunks.push_back((usize::try_from(group.num_rows()).unwrap_or(0), chunk.clone()));
        }
        Ok(Box::new(Chunks { file: Arc::clone(&self.file), left: chunks, limits: self.limits }))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(self.metadata.row_groups().iter())
    }

    fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }
}

/// The remaining chunks of one column, each with the rows of its row group.
struct Chunks<R> {
    file: Arc<R>,
    left: VecDeque<(usize, ColumnChunkMetaData)>,
    limits: Limits,
}

impl<R: ChunkReader + 'static> Iterator for Chunks<R> {
    type Item = Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        let (rows, chunk) = self.left.pop_front()?;
        let pages = BoundedPages::new(&self.file, &chunk, rows, self.limits);
        Some(pages.map(|pages| Box::new(pages) as Box<dyn PageReader>))
    }
}

impl<R: ChunkReader + 'static> PageIterator for Chunks<R> {}

/// The pages of one chunk.
struct BoundedPages<R: ChunkReader> {
    /// Reads raw pages: it is told that they are not compressed.
    inner: SerializedPageReader<CheckedHeaders<R>>,
    compression: Compression,
    kind: PhysicalType,
    /// The minimal decoded size of a value in bytes.
    width: u64,
    limits: Limits,
    /// Limit on the decompressed size of a page in bytes.
    page_bytes: usize,
    has_dictionary: bool,
    /// Values that the footer declares and the pages have not yielded yet.
    values_left: u64,
}

impl<R: ChunkReader> BoundedPages<R> {
    fn new(file: &Arc<R>, chunk: &ColumnChunkMetaData, rows: usize, limits: Limits) -> Result<Self> {
        /// Bytes for the levels of a value, and for a page in addition to its values.
        const LEVELS: u64 = 4;
        const OF_A_PAGE: u64 = 1 << 10;
        let values = u64::try_from(chunk.num_values()).unwrap_or(0);
        let plain = values.saturating_mul(width(chunk).saturating_add(LEVELS)).saturating_add(OF_A_PAGE);
        let page_bytes = if limits.plain_numbers && chunk.column_type() != PhysicalType::BYTE_ARRAY {
            // The footer was checked to declare no more than the file can hold.
            usize::try_from(plain).unwrap_or(usize::MAX)
        } else {
            limits.page_bytes
        };
        let raw = chunk.clone().into_builder().set_compression(Compression::UNCOMPRESSED).build()?;
        Ok(Self {
            inner: SerializedPageReader::new(CheckedHeaders::of(file), &raw, rows, None)?,
            compression: chunk.compression(),
            kind: chunk.column_type(),
            width: width(chunk),
            limits,
            page_bytes,
            has_dictionary: false,
            values_left: values,
        })
    }

    fn decompress(&self, bytes: &Bytes) -> Result<Bytes> {
        decompress(self.compression, bytes, self.page_bytes)
    }

    /// Checks that a dictionary is the only one of its chunk and holds the declared number of values.
    fn dictionary(&mut self, bytes: &Bytes, values: u32) -> Result<()> {
        if self.has_dictionary {
            return Err(wrong("expected one dictionary for a column of a row group, got another"));
        }
        self.has_dictionary = true;
        let held = if self.kind == PhysicalType::BYTE_ARRAY {
            texts(bytes, self.limits.dictionary_text_bytes)?
        } else {
            bytes.len() as u64 / self.width
        };
        if u64::from(values) > held {
            return Err(wrong(format!("expected a dictionary of {values} values, got {held}")));
        }
        Ok(())
    }

    fn data(&mut self, values: u32, encoding: Encoding) -> Result<()> {
        self.values_left =
            self.values_left.checked_sub(u64::from(values)).filter(|_| values > 0).ok_or_else(|| {
                wrong(format!("expected pages of {} more values, got one of {values}", self.values_left))
            })?;
        let by_dictionary = matches!(encoding, Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY);
        if by_dictionary && !self.has_dictionary {
            return Err(wrong("expected a dictionary before the page that refers to it, got none"));
        }
        if self.limits.plain_numbers && self.kind != PhysicalType::BYTE_ARRAY && encoding != Encoding::PLAIN {
            return Err(wrong(format!("expected a column in plain encoding, got {encoding}")));
        }
        Ok(())
    }

    fn bounded(&mut self, page: Page) -> Result<Page> {
        Ok(match page {
            Page::DictionaryPage { buf, num_values, encoding, is_sorted } => {
                let buf = self.decompress(&buf)?;
                self.dictionary(&buf, num_values)?;
                Page::DictionaryPage { buf, num_values, encoding, is_sorted }
            }
            Page::DataPage { buf, num_values, encoding, def_level_encoding, rep_level_encoding, statistics } => {
                self.data(num_values, encoding)?;
                let buf = self.decompress(&buf)?;
                Page::DataPage { buf, num_values, encoding, def_level_encoding, rep_level_encoding, statistics }
            }
            Page::DataPageV2 {
                buf,
                num_values,
                encoding,
                num_nulls,
                num_rows,
                def_levels_byte_len,
                rep_levels_byte_len,
                is_compressed,
                statistics,
            } => {
                self.data(num_values, encoding)?;
                let levels = (def_levels_byte_len as usize).saturating_add(rep_levels_byte_len as usize);
                if levels > buf.len() || num_nulls > num_values {
                    return Err(wrong("expected levels within their page, got more"));
                }
                // If all are null, there are no values, and other bytes are ignored.
                let stored = if num_nulls == num_values { Bytes::new() } else { buf.slice(levels..) };
                let values = if is_compressed { self.decompress(&stored)? } else { stored };
                Page::DataPageV2 {
                    buf: [&buf[..levels], &values].concat().into(),
                    num_values,
                    encoding,
                    num_nulls,
                    num_rows,
                    def_levels_byte_len,
                    rep_levels_byte_len,
                    is_compressed: false,
                    statistics,
                }
            }
        })
    }
}

/// The number of texts in a page in plain encoding, each a length and its bytes. A text longer than `limit` is an
/// error.
fn texts(page: &[u8], limit: usize) -> Result<u64> {
    let (mut count, mut rest) = (0, page);
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        if length > limit {
            return Err(wrong(format!("expected texts of at most {limit} bytes in a dictionary, got {length}")));
        }
        let Some(after) = after.get(length..) else { break };
        (count, rest) = (count + 1, after);
    }
    Ok(count)
}

impl<R: ChunkReader> PageReader for BoundedPages<R> {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.inner.get_next_page()?;
        page.map(|page| self.bounded(page)).transpose()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.inner.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.inner.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.inner.at_record_boundary()
    }
}

impl<R: ChunkReader> Iterator for BoundedPages<R> {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_counted_and_bounded() {
        let page = b"\x03\0\0\0hay\0\0\0\0\x04\0\0\0loft";
        assert_eq!(texts(page, 4).unwrap(), 3);
        assert_eq!(texts(&page[..page.len() - 1], 4).unwrap(), 2);
        assert!(texts(page, 3).unwrap_err().to_string().contains("at most 3 bytes"));
    }
}
