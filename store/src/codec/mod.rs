//! Codecs: how the activations of a row group are stored in the columns of a Parquet file.
//!
//! ```text
//!  scheme    what every codec says of itself and does
//!  planes    one file a codec
//!  raw
//!  int8
//!  encoded   columns and pages to be written
//!  pages     columns and pages that are read
//! ```

pub(crate) mod encoded;
mod int8;
pub(crate) mod pages;
pub(crate) mod planes;
mod raw;
pub(crate) mod rounding;
mod scheme;
pub(crate) mod simd;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::str::FromStr;

use bytes::Bytes;
use hayloft_runtime::Dtype;
use hayloft_runtime::words::did_you_mean;
use serde::{Deserialize, Serialize};

use crate::codec::encoded::{Buffers, Column, EncodedRowGroup, RowGroup};
use crate::codec::pages::Block;
use crate::codec::scheme::Scheme;
use crate::error::{Result, StoreError};

/// Every codec. A new one is a file of this folder and a line here.
static SCHEMES: &[&dyn Scheme] = &[
    &planes::Planes,
    &raw::Raw,
    &int8::Int8,
    #[cfg(test)]
    &tests::Xor,
];

/// A codec for activations, by name: `planes`, `planes:LEVEL`, `raw` or `int8`.
///
/// The constants are without a level. One with a level is parsed: `"planes:9".parse()`.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Codec {
    scheme: &'static dyn Scheme,
    level: Option<i32>,
}

impl Codec {
    const fn of(scheme: &'static dyn Scheme) -> Self {
        Self { scheme, level: None }
    }

    /// Returns whether decoded activations differ from those given. The rounding error is then recorded.
    pub fn is_lossy(self) -> bool {
        self.scheme.is_lossy()
    }

    /// Returns whether the only column holds the words as they are.
    pub(crate) fn is_plain(self) -> bool {
        self.scheme.is_plain()
    }

    /// Returns the columns that store rows of `d_model` elements.
    pub(crate) fn columns(self, dtype: Dtype, d_model: usize) -> Vec<Column> {
        self.scheme.columns(dtype, d_model)
    }

    /// Returns the dtype of the decoded words, for words written as `dtype`.
    pub(crate) fn read_dtype(self, dtype: Dtype) -> Dtype {
        self.scheme.read_dtype(dtype)
    }

    /// Encodes `bits`, `[rows, d_model]` little-endian words of `dtype`.
    pub(crate) fn encode(
        self,
        dtype: Dtype,
        d_model: usize,
        bits: &Bytes,
        buffers: &mut Buffers,
    ) -> io::Result<EncodedRowGroup> {
        self.scheme.encode(&RowGroup { dtype, d_model, level: self.level, bits }, buffers)
    }

    /// Decodes a block into `words`, which must have exactly its size, and verifies its checksums.
    pub(crate) fn decode(self, block: &Block<'_>, words: &mut [u8]) -> Result<()> {
        self.scheme.decode(block, words)
    }
}

impl PartialEq for Codec {
    fn eq(&self, other: &Self) -> bool {
        (self.scheme.name(), self.level) == (other.scheme.name(), other.level)
    }
}

impl Eq for Codec {}

impl fmt::Display for Codec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.scheme.name())?;
        self.level.map_or(Ok(()), |level| write!(formatter, ":{level}"))
    }
}

impl fmt::Debug for Codec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

impl FromStr for Codec {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self> {
        let (name, level) = text.split_once(':').map_or((text, None), |(name, level)| (name, Some(level)));
        let unknown = || {
            let known = SCHEMES.iter().map(|scheme| scheme.name());
            StoreError::invalid("codec", names(), format!("{text}{}", did_you_mean(name, known)))
        };
        let scheme = *SCHEMES.iter().find(|scheme| scheme.name() == name).ok_or_else(unknown)?;
        let Some(level) = level else { return Ok(Self::of(scheme)) };
        let levels = scheme.levels().ok_or_else(unknown)?;
        let parsed = level.parse().ok().filter(|level| levels.contains(level));
        let expected = || format!("{} to {}", levels.start(), levels.end());
        let parsed = parsed.ok_or_else(|| StoreError::invalid("compression level", expected(), level))?;
        Ok(Self { scheme, level: Some(parsed) })
    }
}

/// Returns the names of all codecs in words: "planes, planes:LEVEL, raw or int8".
fn names() -> String {
    let mut names: Vec<String> = Vec::new();
    for scheme in SCHEMES {
        names.push(scheme.name().to_owned());
        names.extend(scheme.levels().map(|_| format!("{}:LEVEL", scheme.name())));
    }
    let last = names.pop().unwrap_or_default();
    format!("{} or {last}", names.join(", "))
}

impl TryFrom<String> for Codec {
    type Error = StoreError;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Codec> for String {
    fn from(codec: Codec) -> Self {
        codec.to_string()
    }
}
