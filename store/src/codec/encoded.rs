//! Parallel encoding of one row group. The bytes do not depend on the number of threads.

use std::cell::RefCell;

use bytes::Bytes;
use hayloft_runtime::Dtype;
use rayon::prelude::*;
use twox_hash::XxHash3_64;
use zstd::bulk::Compressor;
use zstd::zstd_safe::{CParameter, ParamSwitch};

use crate::codec::int8::{self, RoundingError, SCALE_BYTES};
use crate::codec::{Codec, CompressionLevel, planes};

/// Elements of a block: a range of rows with its own checksum and, if compressed, its own page. Small enough that a
/// block's parts stay in a core's cache, that a row group of a narrow model has blocks for all threads, and that some
/// rows can be read without the rest. Larger blocks gain nothing.
const BLOCK_ELEMENTS: usize = 256 << 10;

/// Maximum size of an uncompressed page. Parquet allows 31 bits. A column of a row group below this size is a single
/// page, contiguous in the file.
const STORED_PAGE_BYTES: usize = 1 << 30;

/// Rows at the start of a page that are compared with each other, and the bytes compared of each.
const COMPARED_ROWS: usize = 256;
const COMPARED_BYTES: usize = 64;

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

/// Buffers reused between row groups.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    exponent: Vec<u8>,
    /// Shared with the page written from it, and exclusive again afterwards.
    mantissa: Bytes,
}

pub(crate) fn block_rows(d_model: usize) -> usize {
    (BLOCK_ELEMENTS / d_model).max(1)
}

/// Encodes `bits`, `[rows, d_model]` little-endian words, into the codec's columns.
pub(crate) fn encode(
    codec: Codec,
    dtype: Dtype,
    d_model: usize,
    bits: &Bytes,
    buffers: &mut Buffers,
) -> std::io::Result<EncodedRowGroup> {
    let lossless = |columns| EncodedRowGroup { columns, rounding: None };
    match codec {
        Codec::Planes => encode_planes(dtype, d_model, None, bits, buffers).map(lossless),
        Codec::PlanesAt(level) => encode_planes(dtype, d_model, Some(level), bits, buffers).map(lossless),
        Codec::Raw => Ok(lossless(vec![stored(d_model * dtype.bytes(), block_rows(d_model), bits)])),
        Codec::Int8 => Ok(encode_int8(dtype, d_model, bits)),
    }
}

fn encode_planes(
    dtype: Dtype,
    d_model: usize,
    level: Option<CompressionLevel>,
    bits: &[u8],
    buffers: &mut Buffers,
) -> std::io::Result<Vec<EncodedColumn>> {
    let row_bytes = d_model * dtype.bytes();
    let mantissa_width = row_bytes - d_model;
    let rows = bits.len() / row_bytes;
    let exponent = &mut buffers.exponent;
    exponent.resize(rows * d_model, 0);
    let mut mantissa = std::mem::take(&mut buffers.mantissa).try_into_mut().unwrap_or_default();
    mantissa.resize(rows * mantissa_width, 0);
    let block_rows = block_rows(d_model);
    let blocks: Vec<(EncodedPage, u64)> = bits
        .par_chunks(block_rows * row_bytes)
        .zip(exponent.par_chunks_mut(block_rows * d_model))
        .zip(mantissa.par_chunks_mut(block_rows * mantissa_width))
        .map(|((words, exponent), mantissa)| {
            planes::split(dtype, words, exponent, mantissa);
            let xxh3 = XxHash3_64::oneshot(exponent);
            let bytes = compress(d_model, level, exponent)?.into();
            Ok((EncodedPage { rows: exponent.len() / d_model, bytes, decoded_bytes: exponent.len() }, xxh3))
        })
        .collect::<std::io::Result<_>>()?;
    buffers.mantissa = mantissa.freeze();
    let (pages, xxh3) = blocks.into_iter().unzip();
    Ok(vec![EncodedColumn { pages, xxh3 }, stored(mantissa_width, block_rows, &buffers.mantissa)])
}

fn encode_int8(dtype: Dtype, d_model: usize, bits: &[u8]) -> EncodedRowGroup {
    let row_bytes = d_model * dtype.bytes();
    let rows = bits.len() / row_bytes;
    let (mut scales, mut quantised) = (vec![0; rows * SCALE_BYTES], vec![0; rows * d_model]);
    let block_rows = block_rows(d_model);
    let errors: Vec<RoundingError> = bits
        .par_chunks(block_rows * row_bytes)
        .zip(scales.par_chunks_mut(block_rows * SCALE_BYTES))
        .zip(quantised.par_chunks_mut(block_rows * d_model))
        .map(|((words, scales), quantised)| int8::quantise(dtype, d_model, words, scales, quantised))
        .collect();
    let mut rounding = RoundingError::default();
    for error in errors {
        rounding.add(error);
    }
    let columns = vec![stored(SCALE_BYTES, block_rows, &scales.into()), stored(d_model, block_rows, &quantised.into())];
    EncodedRowGroup { columns, rounding: Some(rounding) }
}

/// A thread's compressors, reused between pages.
struct Compressors {
    plain: Compressor<'static>,
    repeating: Compressor<'static>,
    /// The compressor of the last explicit level.
    at_level: Option<(CompressionLevel, Compressor<'static>)>,
}

impl Compressors {
    fn new() -> std::io::Result<Self> {
        let mut plain = Compressor::new(1)?;
        // Nearly all of the gain on exponents comes from entropy coding. So the match search is minimal (every eighth
        // position, a small table, seven bytes), and literals are always entropy-coded, which these levels would omit.
        // Compared with level 1, compression takes a third of the time and decompression half. Frames are smaller on
        // trained models, and at most 1% of the total size larger on any model tried.
        plain.set_parameter(CParameter::MinMatch(7))?;
        plain.set_parameter(CParameter::HashLog(8))?;
        plain.set_parameter(CParameter::TargetLength(8))?;
        plain.set_parameter(CParameter::LiteralCompressionMode(ParamSwitch::Enable))?;
        Ok(Self { plain, repeating: Compressor::new(1)?, at_level: None })
    }

    fn at(&mut self, level: CompressionLevel) -> std::io::Result<&mut Compressor<'static>> {
        let kept = self.at_level.take().filter(|(kept, _)| *kept == level);
        let compressor = match kept {
            Some((_, compressor)) => compressor,
            None => Compressor::new(level.get())?,
        };
        Ok(&mut self.at_level.insert((level, compressor)).1)
    }
}

fn compress(d_model: usize, level: Option<CompressionLevel>, exponent: &[u8]) -> std::io::Result<Vec<u8>> {
    thread_local! {
        static COMPRESSORS: RefCell<Option<Compressors>> = const { RefCell::new(None) };
    }
    COMPRESSORS.with_borrow_mut(|compressors| {
        let compressors = match compressors {
            Some(compressors) => compressors,
            None => compressors.insert(Compressors::new()?),
        };
        match level {
            Some(level) => compressors.at(level)?,
            None if repeats_rows(d_model, exponent) => &mut compressors.repeating,
            None => &mut compressors.plain,
        }
        .compress(exponent)
    })
}

/// Returns whether rows repeat within the page, as the embeddings of frequent tokens do. A match search then pays off.
fn repeats_rows(d_model: usize, exponent: &[u8]) -> bool {
    let rows = exponent.chunks_exact(d_model).take(COMPARED_ROWS);
    let mut hashes: Vec<u64> = rows.map(|row| XxHash3_64::oneshot(&row[..row.len().min(COMPARED_BYTES)])).collect();
    let rows = hashes.len();
    hashes.sort_unstable();
    hashes.dedup();
    (rows - hashes.len()) * 16 > rows
}

/// Encodes an uncompressed column of `width` bytes per row.
fn stored(width: usize, block_rows: usize, bytes: &Bytes) -> EncodedColumn {
    let xxh3 = bytes.par_chunks(block_rows * width).map(XxHash3_64::oneshot).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_do_not_change_the_bytes() {
        let bits: Bytes = (0..3 * BLOCK_ELEMENTS).map(|index| ((index * index) >> 5) as u8).collect();
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let columns =
                pool.install(|| encode(Codec::Planes, Dtype::Bf16, 64, &bits, &mut Buffers::default())).unwrap();
            columns.columns.into_iter().flat_map(|column| column.pages).map(|page| page.bytes).collect::<Vec<_>>()
        };
        let alone = on(1);
        assert_eq!(alone.len(), 3, "two pages of exponents, one of mantissas");
        assert_eq!(alone, on(4));
    }

    #[test]
    fn blocks_hold_whole_rows_and_at_least_one() {
        assert_eq!([4096, 1 << 21, 3000].map(block_rows), [64, 1, 87]);
    }

    #[test]
    fn buffers_used_again_change_nothing_and_are_not_made_anew() {
        let bits = |seed: usize, rows: usize| -> Bytes { (0..rows * 8).map(|index| (index * seed) as u8).collect() };
        let mut buffers = Buffers::default();
        let mut addresses = Vec::new();
        for (seed, rows) in [(3, 50), (5, 50), (7, 20), (11, 50)] {
            let bits = bits(seed, rows);
            let again = encode(Codec::Planes, Dtype::Bf16, 4, &bits, &mut buffers).unwrap();
            let afresh = encode(Codec::Planes, Dtype::Bf16, 4, &bits, &mut Buffers::default()).unwrap();
            for (again, afresh) in again.columns.iter().zip(&afresh.columns) {
                assert_eq!(again.xxh3, afresh.xxh3);
                assert_eq!(again.pages[0].bytes, afresh.pages[0].bytes);
            }
            addresses.push(buffers.mantissa.as_ptr());
        }
        assert!(addresses.iter().all(|address| *address == addresses[0]));
    }

    #[test]
    fn rows_that_come_again_are_seen() {
        let row = |seed: u64| (0..100_u64).map(move |place| (seed * 7919 + place * place * (seed + 1)) as u8);
        let distinct: Vec<u8> = (0..64).flat_map(row).collect();
        let repeating: Vec<u8> = (0..64).flat_map(|index| row(index % 32)).collect();
        assert!(!repeats_rows(100, &distinct));
        assert!(repeats_rows(100, &repeating));
        let length = |rows| compress(100, None, rows).unwrap().len();
        assert!(length(&repeating) * 5 < length(&distinct) * 3);
    }

    #[test]
    fn a_level_is_what_was_asked_for() {
        let bytes: Vec<u8> = (0..BLOCK_ELEMENTS).map(|index| ((index * index) >> 9) as u8 & 15).collect();
        for level in ["1", "9", "1"] {
            let expected = zstd::bulk::compress(&bytes, level.parse().unwrap()).unwrap();
            assert!(compress(512, Some(level.parse().unwrap()), &bytes).unwrap() == expected, "level {level}");
        }
    }
}
