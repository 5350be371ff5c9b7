//! The number types of activations and weights.

use std::fmt;
use std::str::FromStr;

use half::f16;
use half::slice::HalfFloatSliceExt;
use serde::{Deserialize, Serialize};

use crate::words::did_you_mean;

/// Words per block of f16 conversion. `half` uses hardware instructions where the processor has them.
const F16_BLOCK: usize = 64;

/// A floating-point type of activations or weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// IEEE 754 binary32.
    F32,
    /// The upper half of a binary32.
    Bf16,
    /// IEEE 754 binary16.
    F16,
}

impl Dtype {
    /// Size of an element in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
        }
    }

    /// Widens little-endian words to `f32`. Exact. `bits` holds `into.len()` words of this type.
    #[inline(always)]
    pub fn widen(self, bits: &[u8], into: &mut [f32]) {
        match self {
            Self::F32 => {
                for (word, value) in bits.as_chunks::<4>().0.iter().zip(into) {
                    *value = f32::from_le_bytes(*word);
                }
            }
            Self::Bf16 => {
                for (word, value) in bits.as_chunks::<2>().0.iter().zip(into) {
                    // A bare shift vectorises; `half` also checks for NaN.
                    *value = f32::from_bits(u32::from(u16::from_le_bytes(*word)) << 16);
                }
            }
            Self::F16 => {
                let mut block = [f16::ZERO; F16_BLOCK];
                for (bits, into) in bits.as_chunks::<2>().0.chunks(F16_BLOCK).zip(into.chunks_mut(F16_BLOCK)) {
                    let block = &mut block[..bits.len().min(into.len())];
                    for (word, value) in bits.iter().zip(&mut *block) {
                        *value = f16::from_le_bytes(*word);
                    }
                    block.convert_to_f32_slice(&mut into[..block.len()]);
                }
            }
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        })
    }
}

impl FromStr for Dtype {
    type Err = String;

    /// Accepts the short names and the names used by `config.json` and PyTorch.
    fn from_str(name: &str) -> Result<Self, String> {
        match name.strip_prefix("torch.").unwrap_or(name) {
            "f32" | "float32" => Ok(Self::F32),
            "bf16" | "bfloat16" => Ok(Self::Bf16),
            "f16" | "float16" => Ok(Self::F16),
            _ => {
                let near = did_you_mean(name, ["f32", "bf16", "f16", "float32", "bfloat16", "float16"]);
                Err(format!("expected f32, bf16 or f16, got {name}{near}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for dtype in [Dtype::F32, Dtype::Bf16, Dtype::F16] {
            assert_eq!(dtype.to_string().parse::<Dtype>().unwrap(), dtype);
            assert_eq!(serde_json::to_string(&dtype).unwrap(), format!("\"{dtype}\""));
        }
        assert!("f64".parse::<Dtype>().unwrap_err().contains("f32, bf16 or f16"));
        assert_eq!("torch.bfloat16".parse(), Ok(Dtype::Bf16));
    }

    #[test]
    fn widening_agrees_with_the_half_crate_on_every_word() {
        let words: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let mut values = vec![0.0; 1 << 16];
        let same = |got: f32, expected: f32| got.to_bits() == expected.to_bits() || (got.is_nan() && expected.is_nan());
        Dtype::Bf16.widen(&words, &mut values);
        assert!((0..=u16::MAX).zip(&values).all(|(word, got)| same(*got, half::bf16::from_bits(word).to_f32())));
        Dtype::F16.widen(&words, &mut values);
        assert!((0..=u16::MAX).zip(&values).all(|(word, got)| same(*got, f16::from_bits(word).to_f32())));
    }

    #[test]
    fn widening_is_exact() {
        let mut values = [0.0; 2];
        Dtype::Bf16.widen(&[0x80, 0x3f, 0x00, 0xc0], &mut values);
        assert_eq!(values.map(f32::to_bits), [1f32, -2.0].map(f32::to_bits));
        Dtype::F16.widen(&[0x00, 0x3c, 0x01, 0x00], &mut values);
        assert_eq!(values.map(f32::to_bits), [1.0, 2f32.powi(-24)].map(f32::to_bits));
        Dtype::F32.widen(&[0x00, 0x00, 0x80, 0x3f, 0x00, 0x00, 0x00, 0x80], &mut values);
        assert_eq!(values.map(f32::to_bits), [1f32.to_bits(), (-0f32).to_bits()]);
    }
}
