//! Columns and pages to be written: what a codec makes of one row group.

use bytes::Bytes;
use hayloft_runtime::Dtype;
use rayon::prelude::*;
use twox_hash::XxHash3_64;

use crate::codec::rounding::RoundingError;

/// Elements of a block: a range of rows with its own checksum and, if compressed, its own page. Small enough that a
/// block's parts stay in a core's cache, that a row group of a narrow model has blocks for all threads, and that some
/// rows can be read without the rest. Larger blocks gain nothing.
const BLOCK_ELEMENTS: usize = 256 << 10;

/// Maximum size of an uncompressed page. Parquet allows 31 bits. A column of a row group below this size is a single
/// page, contiguous in the file.
const STORED_PAGE_BYTES: usize = 1 << 30;

/// A column of an activation file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    /// Decoded bytes per row.
    pub(crate) width: usize,
    /// Whether pages are ZSTD frames rather than plain bytes.
    pub(crate) compressed: bool,
}

impl Column {
    /// A column of plain bytes.
    pub(crate) fn stored(name: &'static str, width: usize) -> Self {
        Self { name, width, compressed: false }
    }

    /// A column of ZSTD frames.
    pub(crate) fn compressed(name: &'static str, width: usize) -> Self {
        Self { name, width, compressed: true }
    }
}

/// A row group to be encoded.
pub(crate) struct RowGroup<'a> {
    pub(crate) dtype: Dtype,
    pub(crate) d_model: usize,
    /// The compression level that the codec's name asks for.
    pub(crate) level: Option<i32>,
    /// Little-endian words, `[rows, d_model]`.
    pub(crate) bits: &'a Bytes,
}

pub(crate) struct EncodedPage {
    pub(crate) rows: usize,
    pub(crate) bytes: Bytes,
    pub(crate) decoded_bytes: usize,
}

/// An encoded column of one row group.
pub(crate) struct EncodedColumn {
    pub(crate) pages: Vec<EncodedPage>,
    /// XXH3-64 of the decoded bytes of each block.
    pub(crate) xxh3: Vec<u64>,
}

pub(crate) struct EncodedRowGroup {
    /// Columns in the codec's order.
    pub(crate) columns: Vec<EncodedColumn>,
    /// The rounding error of a lossy codec.
    pub(crate) rounding: Option<RoundingError>,
}

impl EncodedRowGroup {
    /// The columns of a codec that keeps every bit.
    pub(crate) fn lossless(columns: Vec<EncodedColumn>) -> Self {
        Self { columns, rounding: None }
    }
}

/// Buffers reused between row groups.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// Bytes to be compressed.
    pub(crate) plain: Vec<u8>,
    /// Shared with the page written from it, and exclusive again afterwards.
    pub(crate) stored: Bytes,
}

/// Returns the rows of a block; its last one may have fewer.
pub(crate) fn block_rows(d_model: usize) -> usize {
    (BLOCK_ELEMENTS / d_model).max(1)
}

impl RowGroup<'_> {
    /// Returns the bytes of a row as given.
    pub(crate) fn row_bytes(&self) -> usize {
        self.d_model * self.dtype.bytes()
    }

    /// Returns the number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.bits.len() / self.row_bytes()
    }

    /// Returns the rows of a block.
    pub(crate) fn block_rows(&self) -> usize {
        block_rows(self.d_model)
    }

    /// Encodes an uncompressed column of `width` bytes per row.
    pub(crate) fn stored(&self, width: usize, bytes: &Bytes) -> EncodedColumn {
        let xxh3 = bytes.par_chunks(self.block_rows() * width).map(XxHash3_64::oneshot).collect();
        let page_bytes = (STORED_PAGE_BYTES / width).max(1) * width;
        let pages = (0..bytes.len())
            .step_by(page_bytes)
            .map(|start| {
                let bytes = bytes.slice(start..bytes.len().min(start + page_bytes));
                EncodedPage { rows: bytes.len() / width, decoded_bytes: bytes.len(), bytes }
            })
            .collect();
        EncodedColumn { pages, xxh3 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_whole_rows_and_at_least_one() {
        assert_eq!([4096, 1 << 21, 3000].map(block_rows), [64, 1, 87]);
    }
}
