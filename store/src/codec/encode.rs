//! The encoding of one row group: pure, on all threads, and the same bytes on any number of them.

use bytes::Bytes;
use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64;
use zstd::bulk::Compressor;

use crate::codec::{Codec, planes};
use crate::dtype::Dtype;

/// Decoded bytes of a compressed page: small enough to stay in a core's cache from frame to words, and to be shared out
/// among threads; large enough that compression loses nothing.
const COMPRESSED_PAGE_BYTES: usize = 1 << 20;

/// Bytes of an uncompressed page. Parquet counts them in 31 bits; below that, a row group's column is one page and so
/// one stretch of the file.
const STORED_PAGE_BYTES: usize = 1 << 30;

/// The level that compresses exponents at the speed of a disk. Higher ones gain less than a hundredth on them.
const ZSTD_LEVEL: i32 = 1;

/// A page ready to be written.
pub(crate) struct EncodedPage {
    pub(crate) rows: usize,
    pub(crate) bytes: Bytes,
    pub(crate) decoded_bytes: usize,
}

/// A column of one row group ready to be written.
pub(crate) struct EncodedColumn {
    pub(crate) pages: Vec<EncodedPage>,
    /// XXH3-64 of the column's decoded bytes.
    pub(crate) xxh3: u64,
}

/// The rows of a page of at most `limit` bytes, and at least one row.
fn page_rows(width: usize, limit: usize) -> usize {
    (limit / width).max(1)
}

/// Encodes `bits`, `[rows, d_model]` little-endian words, into the codec's columns, in their order.
pub(crate) fn encode(codec: Codec, dtype: Dtype, d_model: usize, bits: &[u8]) -> std::io::Result<Vec<EncodedColumn>> {
    match codec {
        Codec::Planes => encode_planes(dtype, d_model, bits),
        Codec::Raw => Ok(vec![stored(d_model * dtype.bytes(), &Bytes::copy_from_slice(bits))]),
    }
}

fn encode_planes(dtype: Dtype, d_model: usize, bits: &[u8]) -> std::io::Result<Vec<EncodedColumn>> {
    let row_bytes = d_model * dtype.bytes();
    let mantissa_width = row_bytes - d_model;
    let rows = bits.len() / row_bytes;
    let mut exponent = vec![0; rows * d_model];
    let mut mantissa = vec![0; rows * mantissa_width];
    let page_rows = page_rows(d_model, COMPRESSED_PAGE_BYTES);
    let pages: Vec<EncodedPage> = bits
        .par_chunks(page_rows * row_bytes)
        .zip(exponent.par_chunks_mut(page_rows * d_model))
        .zip(mantissa.par_chunks_mut(page_rows * mantissa_width))
        .map_init(
            || Compressor::new(ZSTD_LEVEL),
            |compressor, ((words, exponent), mantissa)| {
                planes::split(dtype, words, exponent, mantissa);
                let compressor = compressor.as_mut().map_err(|error| std::io::Error::other(error.to_string()))?;
                let bytes = compressor.compress(exponent)?.into();
                Ok(EncodedPage { rows: exponent.len() / d_model, bytes, decoded_bytes: exponent.len() })
            },
        )
        .collect::<std::io::Result<_>>()?;
    let (xxh3, mantissa) = rayon::join(|| xxh3_64(&exponent), || stored(mantissa_width, &mantissa.into()));
    Ok(vec![EncodedColumn { pages, xxh3 }, mantissa])
}

/// A column of `width` bytes a row that is stored as it is.
fn stored(width: usize, bytes: &Bytes) -> EncodedColumn {
    let xxh3 = xxh3_64(bytes);
    let page_bytes = page_rows(width, STORED_PAGE_BYTES) * width;
    let pages = (0..bytes.len())
        .step_by(page_bytes)
        .map(|start| {
            let bytes = bytes.slice(start..bytes.len().min(start + page_bytes));
            EncodedPage { rows: bytes.len() / width, decoded_bytes: bytes.len(), bytes }
        })
        .collect();
    EncodedColumn { pages, xxh3 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_do_not_change_the_bytes() {
        let bits: Vec<u8> = (0..3 * COMPRESSED_PAGE_BYTES).map(|index| ((index * index) >> 5) as u8).collect();
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let columns = pool.install(|| encode(Codec::Planes, Dtype::Bf16, 64, &bits)).unwrap();
            columns.into_iter().flat_map(|column| column.pages).map(|page| page.bytes).collect::<Vec<_>>()
        };
        let alone = on(1);
        assert_eq!(alone.len(), 3, "two pages of exponents, one of mantissas");
        assert_eq!(alone, on(4));
    }

    #[test]
    fn pages_hold_whole_rows_and_at_least_one() {
        assert_eq!(page_rows(4096, COMPRESSED_PAGE_BYTES), 256);
        assert_eq!(page_rows(1 << 21, COMPRESSED_PAGE_BYTES), 1);
        assert_eq!(page_rows(3000, COMPRESSED_PAGE_BYTES), 349);
    }
}
