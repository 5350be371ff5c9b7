//! Conversion between element types.

use half::{bf16, f16};
use hayloft_runtime::Dtype;

/// Converts elements, reusing its buffers.
#[derive(Debug, Default)]
pub(super) struct Converter {
    values: Vec<f32>,
    words: Vec<u8>,
}

/// A finite element, with its index, that overflows to infinity in the narrower type.
#[derive(Debug, PartialEq)]
pub(super) struct TooLarge {
    pub(super) element: usize,
    pub(super) value: f32,
}

impl Converter {
    /// Converts little-endian elements of `from` to f32, exactly.
    pub(super) fn widen(&mut self, from: Dtype, bits: &[u8]) -> &[f32] {
        self.values.resize(bits.len() / from.bytes(), 0.0);
        from.widen(bits, &mut self.values);
        &self.values
    }

    /// Converts little-endian elements of `from` to `to`: exactly if `to` is `f32` or the same type, otherwise rounded
    /// to nearest, ties to even.
    pub(super) fn convert<'a>(&'a mut self, from: Dtype, to: Dtype, bits: &'a [u8]) -> Result<&'a [u8], TooLarge> {
        if from == to {
            return Ok(bits);
        }
        self.widen(from, bits);
        self.words.clear();
        let words = &mut self.words;
        let mut put = |narrow: &dyn Fn(f32) -> ([u8; 2], bool)| {
            for (element, value) in self.values.iter().enumerate() {
                let (word, finite) = narrow(*value);
                if value.is_finite() && !finite {
                    return Err(TooLarge { element, value: *value });
                }
                words.extend_from_slice(&word);
            }
            Ok(())
        };
        match to {
            Dtype::F32 => self.values.iter().for_each(|value| words.extend_from_slice(&value.to_le_bytes())),
            Dtype::Bf16 => put(&|value| {
                let word = bf16::from_f32(value);
                (word.to_le_bytes(), word.is_finite())
            })?,
            Dtype::F16 => put(&|value| {
                let word = f16::from_f32(value);
                (word.to_le_bytes(), word.is_finite())
            })?,
        }
        Ok(&self.words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn bf16_becomes_f32_exactly_for_every_word() {
        let bits: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let mut converter = Converter::default();
        let wide = converter.convert(Dtype::Bf16, Dtype::F32, &bits).unwrap().to_vec();
        for (word, got) in (0..=u16::MAX).zip(wide.as_chunks::<4>().0) {
            assert_eq!(u32::from_le_bytes(*got), u32::from(word) << 16);
        }
        // All but signalling NaNs round-trip.
        let back = converter.convert(Dtype::F32, Dtype::Bf16, &wide).unwrap();
        for (word, got) in (0..=u16::MAX).zip(back.as_chunks::<2>().0) {
            let same = u16::from_le_bytes(*got) == word || bf16::from_bits(word).is_nan();
            assert!(same, "{word:04x}");
        }
    }

    #[test]
    fn narrowing_rounds_to_even_and_refuses_what_would_become_infinite() {
        let mut converter = Converter::default();
        let bits = words(&[1.0 + 2f32.powi(-11), 1.0 + 3.0 * 2f32.powi(-11), f32::INFINITY]);
        let narrow = converter.convert(Dtype::F32, Dtype::F16, &bits).unwrap();
        assert_eq!(narrow, [0x00, 0x3c, 0x02, 0x3c, 0x00, 0x7c]);
        let refused = converter.convert(Dtype::F32, Dtype::F16, &words(&[1.0, 70000.0])).unwrap_err();
        assert_eq!(refused, TooLarge { element: 1, value: 70000.0 });
    }

    #[test]
    fn the_same_type_is_passed_through() {
        let bits = [1, 2, 3, 0xff];
        assert_eq!(Converter::default().convert(Dtype::F16, Dtype::F16, &bits).unwrap(), bits);
    }
}
