//! The loops that speed depends on, for the benches alone. No part of the crate's interface.

use bytes::Bytes;
use hayloft_runtime::Dtype;
use twox_hash::XxHash3_64;

use crate::codec::encode::{self, Buffers};
use crate::codec::{self, Codec};
use crate::format::statistics;

/// Takes words apart.
pub fn split(dtype: Dtype, words: &[u8], exponent: &mut [u8], mantissa: &mut [u8]) {
    codec::planes::split(dtype, words, exponent, mantissa);
}

/// Puts words together.
pub fn merge(dtype: Dtype, exponent: &[u8], mantissa: &[u8], words: &mut [u8]) {
    codec::planes::merge(dtype, exponent, mantissa, words);
}

/// The sum of the norms of `[rows, d_model]` words, and of all else that is summed up with it.
pub fn measure(dtype: Dtype, d_model: usize, words: &[u8]) -> f64 {
    statistics::measure(dtype, d_model, words).sums.norm
}

/// A checksum.
pub fn xxh3(bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot(bytes)
}

/// Encodes row groups, one after the other.
#[derive(Debug, Default)]
pub struct Encoder(Buffers);

impl Encoder {
    /// Encodes one, and says how many bytes it takes.
    pub fn encode(&mut self, codec: Codec, dtype: Dtype, d_model: usize, words: &Bytes) -> std::io::Result<usize> {
        let encoded = encode::encode(codec, dtype, d_model, words, &mut self.0)?;
        Ok(encoded.columns.iter().flat_map(|column| &column.pages).map(|page| page.bytes.len()).sum())
    }
}
