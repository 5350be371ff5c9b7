//! Decoding of the blocks of a row group in parallel, with checksum verification.

use std::ops::Range;

use rayon::prelude::*;
use twox_hash::XxHash3_64;

use crate::codec::pages::{Block, Pages};
use crate::error::Result;
use crate::format::activations::layout::Layout;

/// Below this size, decoding takes less time than waking other threads.
const PARALLEL_BYTES: usize = 1 << 20;

/// A row group's columns and its division into blocks.
pub(crate) struct Blocks<'a> {
    pub(crate) layout: &'a Layout,
    /// Pages of each column, in the order of the codec's columns.
    pub(crate) columns: Vec<Pages<'a>>,
    pub(crate) rows: usize,
    /// Rows of a block; the last block may have fewer.
    pub(crate) block_rows: usize,
}

impl Blocks<'_> {
    /// Returns the rows of the blocks that cover `rows`.
    pub(crate) fn covering(&self, rows: &Range<usize>) -> Range<usize> {
        let from = rows.start / self.block_rows * self.block_rows;
        from..rows.end.div_ceil(self.block_rows).saturating_mul(self.block_rows).min(self.rows)
    }

    /// Decodes `rows`, which must be whole blocks, into `words`, which must have exactly their size.
    pub(crate) fn decode(&self, rows: Range<usize>, words: &mut [u8]) -> Result<()> {
        let block_bytes = self.block_rows.saturating_mul(self.layout.read_row_bytes());
        let first = rows.start / self.block_rows;
        let decode = |(index, words): (usize, &mut [u8])| self.decode_block(first + index, words);
        if words.len() < PARALLEL_BYTES || rayon::current_num_threads() == 1 {
            words.chunks_mut(block_bytes).enumerate().try_for_each(decode)
        } else {
            words.par_chunks_mut(block_bytes).enumerate().try_for_each(decode)
        }
    }

    fn rows_of(&self, block: usize) -> Range<usize> {
        let from = block * self.block_rows;
        from..from.saturating_add(self.block_rows).min(self.rows)
    }

    fn decode_block(&self, index: usize, words: &mut [u8]) -> Result<()> {
        let Layout { codec, dtype, d_model, .. } = *self.layout;
        let rows = self.rows_of(index);
        codec.decode(&Block { dtype, d_model, columns: &self.columns, index, rows }, words)
    }

    /// Verifies the column of a codec that stores plain words, in place.
    pub(crate) fn check_stored(&self, column: &Pages<'_>) -> Result<()> {
        let blocks = self.rows.div_ceil(self.block_rows);
        let check = |block| column.check(block, XxHash3_64::oneshot(&column.stored(self.rows_of(block))));
        (0..blocks).into_par_iter().try_for_each(check)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bytes::Bytes;

    use crate::codec::Codec;
    use crate::codec::encoded::Buffers;
    use crate::format::activations::layout::Layout;
    use crate::format::activations::reader::ActivationReader;
    use crate::format::activations::writer::ActivationWriter;
    use crate::fs::hash::blake3_hex;
    use hayloft_runtime::Dtype;

    /// Forty blocks and a partial one.
    const ROWS: usize = 40 * 256 + 17;

    fn file(bits: &Bytes) -> (ActivationReader, Vec<u8>, Layout, String) {
        let site = "blocks.0.hook_resid_pre".parse().unwrap();
        let layout = Layout { site, dtype: Dtype::Bf16, codec: Codec::PLANES, d_model: 1024 };
        let mut writer = ActivationWriter::new(Path::new("a"), Vec::new(), layout.clone()).unwrap();
        writer.write(bits, &mut Buffers::default()).unwrap();
        let (file, written) = writer.finish().unwrap();
        let footer = written.footer_blake3;
        (open(file.clone(), &layout, &footer), file, layout, footer)
    }

    fn open(file: Vec<u8>, layout: &Layout, footer: &str) -> ActivationReader {
        let file = Bytes::from(file).into();
        ActivationReader::open("a".into(), file, layout.clone(), footer, &[ROWS as u64]).unwrap()
    }

    #[test]
    fn any_number_of_threads_reads_the_same_and_sees_damage() {
        let bits: Bytes = (0..ROWS * 2048).map(|index| ((index * index) >> 9) as u8).collect();
        let (reader, file, layout, footer) = file(&bits);
        let mut damaged = file.clone();
        let last_mantissa = file.len() - 2000;
        assert_ne!(blake3_hex(&file[last_mantissa..]), footer, "the footer is shorter");
        damaged[last_mantissa] ^= 1;
        let damaged = open(damaged, &layout, &footer);
        for threads in [1, 2, 4] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut read = vec![1; 10];
            pool.install(|| reader.read(0, &mut read)).unwrap();
            assert!(read == bits, "{threads} threads");
            let error = pool.install(|| damaged.read(0, &mut read)).unwrap_err();
            assert!(error.to_string().contains("mantissa") && read.is_empty(), "{error}");
        }
    }
}
