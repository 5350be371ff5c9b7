//! Codecs: how the bits of a row group's activations become the columns of a Parquet file. All are lossless.

pub(crate) mod encode;
pub(crate) mod planes;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::dtype::Dtype;
use crate::error::StoreError;

/// A lossless way to store activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// Words split into a compressed column of exponents and an uncompressed one of mantissas: about two thirds of the
    /// size of `Raw` for bf16.
    Planes,
    /// The words as they are, read without any work.
    Raw,
}

impl fmt::Display for Codec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Planes => "planes",
            Self::Raw => "raw",
        })
    }
}

impl FromStr for Codec {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        match text {
            "planes" => Ok(Self::Planes),
            "raw" => Ok(Self::Raw),
            other => Err(StoreError::invalid("codec", "planes or raw", other)),
        }
    }
}

/// A column of an activation file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    /// Its name in the file.
    pub(crate) name: &'static str,
    /// Bytes a row takes in it, decoded.
    pub(crate) width: usize,
    /// Whether its pages are ZSTD frames or the bytes themselves.
    pub(crate) compressed: bool,
}

impl Codec {
    /// The columns that this codec stores rows of `d_model` elements in.
    pub(crate) fn columns(self, dtype: Dtype, d_model: usize) -> Vec<Column> {
        match self {
            Self::Planes => vec![
                Column { name: "exponent", width: d_model, compressed: true },
                Column { name: "mantissa", width: d_model * (dtype.bytes() - 1), compressed: false },
            ],
            Self::Raw => vec![Column { name: "bits", width: d_model * dtype.bytes(), compressed: false }],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for codec in [Codec::Planes, Codec::Raw] {
            assert_eq!(codec.to_string().parse::<Codec>().unwrap(), codec);
            assert_eq!(serde_json::to_string(&codec).unwrap(), format!("\"{codec}\""));
        }
        assert!("zstd".parse::<Codec>().is_err());
    }
}
