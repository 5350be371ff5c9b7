//! SHA-256 hashes, as manifests and the Hub write them.

use std::fmt;

use hayloft_runtime::hexadecimal;
use serde::{Deserialize, Serialize};

use crate::identifiers::is_hexadecimal;

/// A SHA-256 hash: 64 hexadecimal digits in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256(String);

impl Sha256 {
    /// Converts the 32 bytes of a digest.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(hexadecimal(bytes))
    }
}

impl TryFrom<String> for Sha256 {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if is_hexadecimal(&text, 64) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(format!("expected a SHA-256 of 64 hexadecimal digits (sha256sum prints it), got {text:?}"))
        }
    }
}

impl From<Sha256> for String {
    fn from(hash: Sha256) -> Self {
        hash.0
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
