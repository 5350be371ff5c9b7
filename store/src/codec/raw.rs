//! `raw`: plain words, readable without decoding. Lossless.

use std::hash::Hasher;
use std::io;

use hayloft_runtime::Dtype;
use twox_hash::XxHash3_64;

use crate::codec::Codec;
use crate::codec::encoded::{Buffers, Column, EncodedRowGroup, RowGroup};
use crate::codec::pages::Block;
use crate::codec::scheme::Scheme;
use crate::error::Result;

/// Bytes copied and then hashed at a time, so that they stay in the cache in between.
const PIECE_BYTES: usize = 256 << 10;

impl Codec {
    /// Plain words, readable without decoding. Lossless.
    pub const RAW: Self = Self::of(&Raw);
}

pub(super) struct Raw;

impl Scheme for Raw {
    fn name(&self) -> &'static str {
        "raw"
    }

    fn columns(&self, dtype: Dtype, d_model: usize) -> Vec<Column> {
        vec![Column::stored("bits", d_model * dtype.bytes())]
    }

    fn is_plain(&self) -> bool {
        true
    }

    fn encode(&self, group: &RowGroup<'_>, _: &mut Buffers) -> io::Result<EncodedRowGroup> {
        Ok(EncodedRowGroup::lossless(vec![group.stored(group.row_bytes(), group.bits)]))
    }

    fn decode(&self, block: &Block<'_>, words: &mut [u8]) -> Result<()> {
        let [bits] = block.columns()?;
        let mut hasher = XxHash3_64::new();
        let stored = bits.stored(block.rows.clone());
        for (from, into) in stored.chunks(PIECE_BYTES).zip(words.chunks_mut(PIECE_BYTES)) {
            into.copy_from_slice(from);
            hasher.write(into);
        }
        bits.check(block.index, hasher.finish())
    }
}
