//! Hot loops, exported for benchmarks. Not part of the public API.

use bytes::Bytes;
use hayloft_runtime::Dtype;
use twox_hash::XxHash3_64;

use crate::codec::encoded::Buffers;
use crate::codec::{Codec, planes};
use crate::format::statistics;

/// Splits words into exponents and mantissas.
pub fn split(dtype: Dtype, words: &[u8], exponent: &mut [u8], mantissa: &mut [u8]) {
    planes::split(dtype, words, exponent, mantissa);
}

/// Merges exponents and mantissas into words.
pub fn merge(dtype: Dtype, exponent: &[u8], mantissa: &[u8], words: &mut [u8]) {
    planes::merge(dtype, exponent, mantissa, words);
}

/// Computes all statistics of `[rows, d_model]` words, and returns the sum of norms.
pub fn measure(dtype: Dtype, d_model: usize, words: &[u8]) -> f64 {
    statistics::measure(dtype, d_model, words).sums.norm
}

/// Returns the XXH3-64 of the bytes.
pub fn xxh3(bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot(bytes)
}

/// Encodes row groups one by one.
#[derive(Debug, Default)]
pub struct Encoder(Buffers);

impl Encoder {
    /// Encodes a row group and returns its encoded size in bytes.
    pub fn encode(&mut self, codec: Codec, dtype: Dtype, d_model: usize, words: &Bytes) -> std::io::Result<usize> {
        let encoded = codec.encode(dtype, d_model, words, &mut self.0)?;
        Ok(encoded.columns.iter().flat_map(|column| &column.pages).map(|page| page.bytes.len()).sum())
    }
}
