//! Codecs: the mapping of a row group's activations to the columns of a Parquet file. All but `int8` are lossless.

pub(crate) mod encode;
pub(crate) mod int8;
pub(crate) mod planes;
pub(crate) mod simd;

use std::fmt;
use std::str::FromStr;

use hayloft_runtime::Dtype;
use serde::{Deserialize, Serialize};

use crate::error::StoreError;

/// A codec for activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Codec {
    /// Words are split into a compressed exponent column and an uncompressed mantissa column. About two thirds of the
    /// size of `Raw` for bf16. Lossless.
    Planes,
    /// `Planes` with an explicit ZSTD level instead of the fastest settings. Lossless.
    PlanesAt(CompressionLevel),
    /// Plain words, readable without decoding. Lossless.
    Raw,
    /// 8 bits per element and one scale per row, for any dtype. Lossy; the rounding error is recorded.
    Int8,
}

/// A ZSTD compression level, from 1 to 22.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CompressionLevel(i32);

impl CompressionLevel {
    const LARGEST: i32 = 22;

    /// Returns the level as a number.
    pub fn get(self) -> i32 {
        self.0
    }
}

impl FromStr for CompressionLevel {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let level = text.parse().ok().filter(|level| (1..=Self::LARGEST).contains(level));
        level.map(Self).ok_or_else(|| StoreError::invalid("compression level", format!("1 to {}", Self::LARGEST), text))
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Planes => formatter.write_str("planes"),
            Self::PlanesAt(level) => write!(formatter, "planes:{}", level.get()),
            Self::Raw => formatter.write_str("raw"),
            Self::Int8 => formatter.write_str("int8"),
        }
    }
}

impl FromStr for Codec {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        match text {
            "planes" => Ok(Self::Planes),
            "raw" => Ok(Self::Raw),
            "int8" => Ok(Self::Int8),
            other => match other.strip_prefix("planes:") {
                Some(level) => level.parse().map(Self::PlanesAt),
                None => Err(StoreError::invalid("codec", "planes, planes:LEVEL, raw or int8", other)),
            },
        }
    }
}

impl TryFrom<String> for Codec {
    type Error = StoreError;

    fn try_from(text: String) -> Result<Self, StoreError> {
        text.parse()
    }
}

impl From<Codec> for String {
    fn from(codec: Codec) -> Self {
        codec.to_string()
    }
}

/// A column of an activation file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    /// Decoded bytes per row.
    pub(crate) width: usize,
    /// Whether pages are ZSTD frames rather than plain bytes.
    pub(crate) compressed: bool,
}

impl Codec {
    /// Returns the columns that store rows of `d_model` elements.
    pub(crate) fn columns(self, dtype: Dtype, d_model: usize) -> Vec<Column> {
        let stored = |name, width| Column { name, width, compressed: false };
        match self {
            Self::Planes | Self::PlanesAt(_) => vec![
                Column { name: "exponent", width: d_model, compressed: true },
                stored("mantissa", d_model * (dtype.bytes() - 1)),
            ],
            Self::Raw => vec![stored("bits", d_model * dtype.bytes())],
            Self::Int8 => vec![stored("scale", int8::SCALE_BYTES), stored("quantised", d_model)],
        }
    }

    /// Returns the dtype of the decoded words, for words written as `dtype`.
    pub(crate) fn read_dtype(self, dtype: Dtype) -> Dtype {
        match self {
            Self::Planes | Self::PlanesAt(_) | Self::Raw => dtype,
            Self::Int8 => Dtype::F32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for codec in [Codec::Planes, Codec::PlanesAt(CompressionLevel(9)), Codec::Raw, Codec::Int8] {
            assert_eq!(codec.to_string().parse::<Codec>().unwrap(), codec);
            assert_eq!(serde_json::to_string(&codec).unwrap(), format!("\"{codec}\""));
            assert_eq!(serde_json::from_str::<Codec>(&format!("\"{codec}\"")).unwrap(), codec);
        }
        for wrong in ["zstd", "planes:", "planes:0", "planes:23", "planes:-1", "planes:x", "raw:1"] {
            let error = wrong.parse::<Codec>().unwrap_err();
            assert!(error.to_string().contains("expected"), "{error}");
        }
    }
}
