//! Splitting of floating-point words into an exponent byte, which compresses well, and mantissa bytes, which do not.
//!
//! Rotating a word left by one bit moves the sign to the lowest bit. The top byte is then the exponent of a bf16 or f32
//! (of an f16, the exponent and the upper three bits of the mantissa). The bytes below are mantissa and sign:
//!
//! ```text
//! bf16   s eeeeeeee mmmmmmm        →   eeeeeeee | mmmmmmms
//! f16    s eeeee mmm mmmmmmm       →   eeeeemmm | mmmmmmms
//! f32    s eeeeeeee mmm…m (23)     →   eeeeeeee | mmm…ms (24)
//! ```
//!
//! The loops have no bounds checks and no branches, so that the compiler vectorises them.

use hayloft_runtime::Dtype;

use crate::codec::simd::{self, Kernel};

/// Splits little-endian `words` into one byte per element in `exponent` and the rest in `mantissa`. The outputs must
/// have exactly the size needed.
pub(crate) fn split(dtype: Dtype, words: &[u8], exponent: &mut [u8], mantissa: &mut [u8]) {
    simd::run(Split { dtype, words, exponent, mantissa });
}

/// Inverts [`split`]. `words` must have exactly the size of the result.
pub(crate) fn merge(dtype: Dtype, exponent: &[u8], mantissa: &[u8], words: &mut [u8]) {
    simd::run(Merge { dtype, exponent, mantissa, words });
}

struct Split<'a> {
    dtype: Dtype,
    words: &'a [u8],
    exponent: &'a mut [u8],
    mantissa: &'a mut [u8],
}

impl Kernel for Split<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        match self.dtype {
            Dtype::Bf16 | Dtype::F16 => split_16(self.words, self.exponent, self.mantissa),
            Dtype::F32 => split_32(self.words, self.exponent, self.mantissa),
        }
    }
}

struct Merge<'a> {
    dtype: Dtype,
    exponent: &'a [u8],
    mantissa: &'a [u8],
    words: &'a mut [u8],
}

impl Kernel for Merge<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        match self.dtype {
            Dtype::Bf16 | Dtype::F16 => merge_16(self.exponent, self.mantissa, self.words),
            Dtype::F32 => merge_32(self.exponent, self.mantissa, self.words),
        }
    }
}

#[inline(always)]
fn split_16(words: &[u8], exponent: &mut [u8], mantissa: &mut [u8]) {
    for ((word, exponent), mantissa) in words.as_chunks::<2>().0.iter().zip(exponent).zip(mantissa) {
        let rotated = u16::from_le_bytes(*word).rotate_left(1);
        *exponent = (rotated >> 8) as u8;
        *mantissa = rotated as u8;
    }
}

#[inline(always)]
fn merge_16(exponent: &[u8], mantissa: &[u8], words: &mut [u8]) {
    for ((word, exponent), mantissa) in words.as_chunks_mut::<2>().0.iter_mut().zip(exponent).zip(mantissa) {
        let rotated = u16::from(*exponent) << 8 | u16::from(*mantissa);
        *word = rotated.rotate_right(1).to_le_bytes();
    }
}

/// Processes four elements at a time, whose mantissas fill three words.
#[inline(always)]
fn split_32(words: &[u8], exponent: &mut [u8], mantissa: &mut [u8]) {
    let (words, last_words) = words.as_chunks::<16>();
    let (exponent, last_exponent) = exponent.as_chunks_mut::<4>();
    let (mantissa, last_mantissa) = mantissa.as_chunks_mut::<12>();
    for ((words, exponent), mantissa) in words.iter().zip(exponent).zip(mantissa) {
        let [a, b, c, d] = four_words(words).map(|word| word.rotate_left(1));
        *exponent = [a, b, c, d].map(|word| (word >> 24) as u8);
        let packed = [a & 0x00ff_ffff | b << 24, b >> 8 & 0xffff | c << 16, c >> 16 & 0xff | d << 8];
        for (bytes, word) in mantissa.as_chunks_mut::<4>().0.iter_mut().zip(packed) {
            *bytes = word.to_le_bytes();
        }
    }
    let last_mantissa = last_mantissa.as_chunks_mut::<3>().0;
    for ((word, exponent), mantissa) in last_words.as_chunks::<4>().0.iter().zip(last_exponent).zip(last_mantissa) {
        let [low, middle, high, top] = u32::from_le_bytes(*word).rotate_left(1).to_le_bytes();
        *exponent = top;
        *mantissa = [low, middle, high];
    }
}

#[inline(always)]
fn merge_32(exponent: &[u8], mantissa: &[u8], words: &mut [u8]) {
    let (words, last_words) = words.as_chunks_mut::<16>();
    let (exponent, last_exponent) = exponent.as_chunks::<4>();
    let (mantissa, last_mantissa) = mantissa.as_chunks::<12>();
    for ((words, exponent), mantissa) in words.iter_mut().zip(exponent).zip(mantissa) {
        let top = exponent.map(|byte| u32::from(byte) << 24);
        let [a, b, c] = three_words(mantissa);
        let below = [a & 0x00ff_ffff, a >> 24 | (b & 0xffff) << 8, b >> 16 | (c & 0xff) << 16, c >> 8];
        let rotated = [0, 1, 2, 3].map(|element| top[element] | below[element]);
        for (bytes, word) in words.as_chunks_mut::<4>().0.iter_mut().zip(rotated) {
            *bytes = word.rotate_right(1).to_le_bytes();
        }
    }
    let last_words = last_words.as_chunks_mut::<4>().0;
    for ((word, exponent), mantissa) in last_words.iter_mut().zip(last_exponent).zip(last_mantissa.as_chunks::<3>().0) {
        let [low, middle, high] = *mantissa;
        *word = u32::from_le_bytes([low, middle, high, *exponent]).rotate_right(1).to_le_bytes();
    }
}

#[inline(always)]
fn four_words(bytes: &[u8; 16]) -> [u32; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    words
}

#[inline(always)]
fn three_words(bytes: &[u8; 12]) -> [u32; 3] {
    let mut words = [0; 3];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn there_and_back(dtype: Dtype, words: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let elements = words.len() / dtype.bytes();
        let mut exponent = vec![0; elements];
        let mut mantissa = vec![0; elements * (dtype.bytes() - 1)];
        split(dtype, words, &mut exponent, &mut mantissa);
        let mut merged = vec![0xaa; words.len()];
        merge(dtype, &exponent, &mantissa, &mut merged);
        assert_eq!(merged, words);
        with_plain_instructions(dtype, words, &exponent, &mantissa);
        (exponent, mantissa)
    }

    fn with_plain_instructions(dtype: Dtype, words: &[u8], exponent: &[u8], mantissa: &[u8]) {
        let (mut got_exponent, mut got_mantissa) = (vec![0; exponent.len()], vec![0; mantissa.len()]);
        Split { dtype, words, exponent: &mut got_exponent, mantissa: &mut got_mantissa }.run();
        assert_eq!((got_exponent.as_slice(), got_mantissa.as_slice()), (exponent, mantissa));
        let mut merged = vec![0xaa; words.len()];
        Merge { dtype, exponent, mantissa, words: &mut merged }.run();
        assert_eq!(merged, words);
    }

    /// The split as FORMAT.md defines it, element by element.
    fn by_definition_32(words: &[u32]) -> (Vec<u8>, Vec<u8>) {
        let rotated: Vec<[u8; 4]> = words.iter().map(|word| word.rotate_left(1).to_le_bytes()).collect();
        (rotated.iter().map(|bytes| bytes[3]).collect(), rotated.iter().flat_map(|bytes| bytes[..3].to_vec()).collect())
    }

    #[test]
    fn every_bit_pattern_of_16_bits_comes_back() {
        let words: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        for dtype in [Dtype::Bf16, Dtype::F16] {
            let (exponent, mantissa) = there_and_back(dtype, &words);
            for word in 0..=u16::MAX {
                let rotated = word.rotate_left(1);
                assert_eq!([mantissa[word as usize], exponent[word as usize]], rotated.to_le_bytes());
            }
        }
    }

    #[test]
    fn the_exponent_of_a_bf16_is_the_first_plane() {
        let (exponent, mantissa) = there_and_back(Dtype::Bf16, &half::bf16::from_f32(-1.5).to_le_bytes());
        assert_eq!((exponent[0], mantissa[0]), (127, 0b1000_0001));
    }

    #[test]
    fn special_values_of_32_bits_come_back() {
        let special = [
            0,
            f32::to_bits(-0.0),
            f32::INFINITY.to_bits(),
            f32::NEG_INFINITY.to_bits(),
            f32::NAN.to_bits(),
            0x7fa0_1234, // a signalling NaN with a payload
            0xffc0_0001, // a negative NaN with a payload
            1,           // the smallest subnormal
            0x807f_ffff, // the largest negative subnormal
            f32::MAX.to_bits(),
            u32::MAX,
        ];
        let bytes: Vec<u8> = special.iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(there_and_back(Dtype::F32, &bytes), by_definition_32(&special));
    }

    proptest! {
        #[test]
        fn words_of_32_bits_come_back(words in prop::collection::vec(any::<u32>(), 0..300)) {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            prop_assert_eq!(there_and_back(Dtype::F32, &bytes), by_definition_32(&words));
        }

        #[test]
        fn words_of_16_bits_come_back_at_any_length(bytes in prop::collection::vec(any::<[u8; 2]>(), 0..300)) {
            there_and_back(Dtype::Bf16, bytes.as_flattened());
            there_and_back(Dtype::F16, bytes.as_flattened());
        }
    }
}
