//! `planes`: words are split into a compressed exponent column and an uncompressed mantissa column. About two thirds of the
//! size of `raw` for bf16. Lossless.

mod words;

use std::cell::RefCell;
use std::hash::Hasher;
use std::io;
use std::ops::RangeInclusive;

use hayloft_runtime::Dtype;
use rayon::prelude::*;
use twox_hash::XxHash3_64;
use zstd::bulk::Compressor;
use zstd::zstd_safe::{CParameter, ParamSwitch};

pub(crate) use self::words::{merge, split};
use crate::codec::Codec;
use crate::codec::encoded::{Buffers, Column, EncodedColumn, EncodedPage, EncodedRowGroup, RowGroup};
use crate::codec::pages::Block;
use crate::codec::scheme::Scheme;
use crate::error::Result;

/// Rows at the start of a page that are compared with each other, and the bytes compared of each.
const COMPARED_ROWS: usize = 256;
const COMPARED_BYTES: usize = 64;

impl Codec {
    /// Words are split into a compressed exponent column and an uncompressed mantissa column. About two thirds of the size
    /// of [`Self::RAW`] for bf16. Lossless. `planes:LEVEL` has an explicit ZSTD level instead of the fastest settings.
    pub const PLANES: Self = Self::of(&Planes);
}

pub(super) struct Planes;

impl Scheme for Planes {
    fn name(&self) -> &'static str {
        "planes"
    }

    fn levels(&self) -> Option<RangeInclusive<i32>> {
        Some(1..=22)
    }

    fn columns(&self, dtype: Dtype, d_model: usize) -> Vec<Column> {
        vec![Column::compressed("exponent", d_model), Column::stored("mantissa", d_model * (dtype.bytes() - 1))]
    }

    fn encode(&self, group: &RowGroup<'_>, buffers: &mut Buffers) -> io::Result<EncodedRowGroup> {
        let (d_model, row_bytes, block_rows) = (group.d_model, group.row_bytes(), group.block_rows());
        let mantissa_width = row_bytes - d_model;
        let exponent = &mut buffers.plain;
        exponent.resize(group.rows() * d_model, 0);
        let mut mantissa = std::mem::take(&mut buffers.stored).try_into_mut().unwrap_or_default();
        mantissa.resize(group.rows() * mantissa_width, 0);
        let blocks: Vec<(EncodedPage, u64)> = group
            .bits
            .par_chunks(block_rows * row_bytes)
            .zip(exponent.par_chunks_mut(block_rows * d_model))
            .zip(mantissa.par_chunks_mut(block_rows * mantissa_width))
            .map(|((words, exponent), mantissa)| {
                split(group.dtype, words, exponent, mantissa);
                let xxh3 = XxHash3_64::oneshot(exponent);
                let bytes = compress(d_model, group.level, exponent)?.into();
                Ok((EncodedPage { rows: exponent.len() / d_model, bytes, decoded_bytes: exponent.len() }, xxh3))
            })
            .collect::<io::Result<_>>()?;
        buffers.stored = mantissa.freeze();
        let (pages, xxh3) = blocks.into_iter().unzip();
        let mantissa = group.stored(mantissa_width, &buffers.stored);
        Ok(EncodedRowGroup::lossless(vec![EncodedColumn { pages, xxh3 }, mantissa]))
    }

    /// Decompresses exponents page by page. Hashes and merges each page while it is in the cache.
    fn decode(&self, block: &Block<'_>, words: &mut [u8]) -> Result<()> {
        thread_local! {
            static DECODED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        let [exponent, mantissa] = block.columns()?;
        let (d_model, row_bytes) = (block.d_model, block.d_model * block.dtype.bytes());
        let stored = mantissa.stored(block.rows.clone());
        let (mut exponent_hasher, mut mantissa_hasher) = (XxHash3_64::new(), XxHash3_64::new());
        let (mut words_left, mut mantissa_left) = (words, stored.as_ref());
        DECODED.with_borrow_mut(|decoded| {
            for page in exponent.over(block.rows.clone())? {
                let (words, next_words) = words_left.split_at_mut(page.rows * row_bytes);
                let (mantissa, next_mantissa) = mantissa_left.split_at(page.rows * (row_bytes - d_model));
                (words_left, mantissa_left) = (next_words, next_mantissa);
                decoded.resize(page.rows * d_model, 0);
                exponent.decompress(page, decoded)?;
                exponent_hasher.write(decoded);
                mantissa_hasher.write(mantissa);
                merge(block.dtype, decoded, mantissa, words);
            }
            Ok(())
        })?;
        exponent.check(block.index, exponent_hasher.finish())?;
        mantissa.check(block.index, mantissa_hasher.finish())
    }
}

/// A thread's compressors, reused between pages.
struct Compressors {
    plain: Compressor<'static>,
    repeating: Compressor<'static>,
    /// The compressor of the last explicit level.
    at_level: Option<(i32, Compressor<'static>)>,
}

impl Compressors {
    fn new() -> io::Result<Self> {
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

    fn at(&mut self, level: i32) -> io::Result<&mut Compressor<'static>> {
        let kept = self.at_level.take().filter(|(kept, _)| *kept == level);
        let compressor = match kept {
            Some((_, compressor)) => compressor,
            None => Compressor::new(level)?,
        };
        Ok(&mut self.at_level.insert((level, compressor)).1)
    }
}

fn compress(d_model: usize, level: Option<i32>, exponent: &[u8]) -> io::Result<Vec<u8>> {
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const BLOCK_BYTES: usize = 256 << 10;

    fn encode(d_model: usize, bits: &Bytes, buffers: &mut Buffers) -> EncodedRowGroup {
        Planes.encode(&RowGroup { dtype: Dtype::Bf16, d_model, level: None, bits }, buffers).unwrap()
    }

    #[test]
    fn threads_do_not_change_the_bytes() {
        let bits: Bytes = (0..3 * BLOCK_BYTES).map(|index| ((index * index) >> 5) as u8).collect();
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let columns = pool.install(|| encode(64, &bits, &mut Buffers::default()));
            columns.columns.into_iter().flat_map(|column| column.pages).map(|page| page.bytes).collect::<Vec<_>>()
        };
        let alone = on(1);
        assert_eq!(alone.len(), 3, "two pages of exponents, one of mantissas");
        assert_eq!(alone, on(4));
    }

    #[test]
    fn buffers_used_again_change_nothing_and_are_not_made_anew() {
        let bits = |seed: usize, rows: usize| -> Bytes { (0..rows * 8).map(|index| (index * seed) as u8).collect() };
        let mut buffers = Buffers::default();
        let mut addresses = Vec::new();
        for (seed, rows) in [(3, 50), (5, 50), (7, 20), (11, 50)] {
            let bits = bits(seed, rows);
            let again = encode(4, &bits, &mut buffers);
            let afresh = encode(4, &bits, &mut Buffers::default());
            for (again, afresh) in again.columns.iter().zip(&afresh.columns) {
                assert_eq!(again.xxh3, afresh.xxh3);
                assert_eq!(again.pages[0].bytes, afresh.pages[0].bytes);
            }
            addresses.push(buffers.stored.as_ptr());
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
        let bytes: Vec<u8> = (0..BLOCK_BYTES).map(|index| ((index * index) >> 9) as u8 & 15).collect();
        for level in [1, 9, 1] {
            let expected = zstd::bulk::compress(&bytes, level).unwrap();
            assert!(compress(512, Some(level), &bytes).unwrap() == expected, "level {level}");
        }
    }
}
