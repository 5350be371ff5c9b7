//! JSON files with a checksum.
//!
//! ```text
//! {                             ┐
//!   "format": 1,                │ hashed: everything up to the end of the last value
//!   "name": "stories"           ┘
//!                    ,          the comma is not
//!   "checksum": "<BLAKE3 of those bytes, 64 hexadecimal digits>"
//! }
//! ```

use std::io::Read;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::FORMAT_VERSION;
use crate::error::{Result, StoreError};
use crate::fs::json_layout::to_pretty_json;
use crate::fs::open::open_file;

const BEFORE_CHECKSUM: &str = ",\n  \"checksum\": \"";
const AFTER_CHECKSUM: &str = "\"\n}\n";
const CHECKSUM_DIGITS: usize = 64;

/// Limit on a file's size. A record of 16 sites 16,384 wide takes about 5 MB.
const MAX_BYTES: u64 = 1 << 30;

/// Limit on the length of another program's name in an error.
const MAX_GENERATOR: usize = 80;

/// The fields that another format version has too: the version, and in the manifest the program that wrote it.
#[derive(Deserialize)]
struct AnyVersion {
    format: u32,
    generator: Option<String>,
}

/// Serialises `value`, a non-empty object, to the bytes of a file.
pub(crate) fn seal<T: Serialize>(path: &Path, value: &T) -> Result<Vec<u8>> {
    let mut bytes = to_pretty_json(value)
        .map_err(|error| StoreError::invalid(path.display(), "values that JSON can hold", error))?;
    let body = bytes.trim_ascii_end().len() - "\n}".len();
    bytes.truncate(body);
    add_checksum(&mut bytes);
    Ok(bytes)
}

/// Appends the checksum after the last value.
fn add_checksum(bytes: &mut Vec<u8>) {
    let checksum = blake3::hash(bytes).to_hex();
    bytes.extend_from_slice(BEFORE_CHECKSUM.as_bytes());
    bytes.extend_from_slice(checksum.as_bytes());
    bytes.extend_from_slice(AFTER_CHECKSUM.as_bytes());
}

/// Replaces the checksum of modified bytes.
#[cfg(feature = "fuzzing")]
pub(crate) fn sealed_again(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.len().saturating_sub(BEFORE_CHECKSUM.len() + CHECKSUM_DIGITS + AFTER_CHECKSUM.len());
    let mut sealed = bytes[..end].to_vec();
    add_checksum(&mut sealed);
    sealed
}

/// Reads the bytes of a file that [`seal`] made.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = |source| StoreError::io(path, "read", source);
    let file = open_file(path)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(StoreError::damaged(path, format!("at most {MAX_BYTES} bytes"), "more"));
    }
    Ok(bytes)
}

/// Parses the bytes of the file at `path`.
///
/// # Errors
/// [`StoreError::Version`] for a file of another version, [`StoreError::Damaged`] if the checksum is missing or wrong,
/// [`StoreError::Malformed`] if the checksum is right but the contents are not those of this version.
pub(crate) fn unseal<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    // Check the version first: another version may use a different checksum layout.
    if let Ok(AnyVersion { format, generator }) = serde_json::from_slice(bytes)
        && format != FORMAT_VERSION
    {
        let generator = generator.unwrap_or_else(|| "another version of hayloft".to_owned());
        let generator = generator.chars().filter(|character| !character.is_control()).take(MAX_GENERATOR).collect();
        return Err(StoreError::Version { path: path.to_owned(), expected: FORMAT_VERSION, got: format, generator });
    }
    let (body, expected) = split_checksum(bytes).ok_or_else(|| {
        StoreError::damaged(path, "a checksum as the last field", "none: the file was cut short or edited by hand")
    })?;
    let got = blake3::hash(body).to_hex();
    if got.as_bytes() != expected {
        let expected = String::from_utf8_lossy(expected);
        return Err(StoreError::damaged(path, format!("checksum {expected}"), format!("{got} of the bytes before it")));
    }
    serde_json::from_slice(bytes).map_err(|error| StoreError::Malformed {
        path: path.to_owned(),
        expected: format!("a file of format version {FORMAT_VERSION}"),
        got: error.to_string(),
    })
}

/// Whether the bytes are not from [`seal`], of this version or another.
pub(crate) fn is_damaged(bytes: &[u8]) -> bool {
    matches!(unseal::<serde::de::IgnoredAny>(Path::new(""), bytes), Err(StoreError::Damaged { .. }))
}

fn split_checksum(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let bytes = bytes.strip_suffix(AFTER_CHECKSUM.as_bytes())?;
    let (bytes, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM_DIGITS)?)?;
    Some((bytes.strip_suffix(BEFORE_CHECKSUM.as_bytes())?, checksum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Example {
        format: u32,
        mean: Vec<f64>,
    }

    fn sealed(format: u32) -> Vec<u8> {
        seal(Path::new("a.json"), &Example { format, mean: vec![0.1, -2.0] }).unwrap()
    }

    #[test]
    fn a_sealed_file_reads_back_and_is_plain_json() {
        let bytes = sealed(FORMAT_VERSION);
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(text.starts_with("{\n  \"format\": 1,\n  \"mean\": [0.1, -2.0],\n  \"checksum\": \""), "{text}");
        assert!(text.ends_with("\"\n}\n"));
        let value: Example = unseal(Path::new("a.json"), &bytes).unwrap();
        assert_eq!(value, Example { format: FORMAT_VERSION, mean: vec![0.1, -2.0] });
        assert!(serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()["checksum"].is_string());
    }

    #[test]
    fn no_flipped_bit_and_no_truncation_goes_unseen() {
        let bytes = sealed(FORMAT_VERSION);
        for position in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[position] ^= 1 << bit;
                let error = unseal::<Example>(Path::new("a.json"), &flipped).unwrap_err();
                assert!(error.to_string().starts_with("a.json: "), "{error}");
            }
            assert!(unseal::<Example>(Path::new("a.json"), &bytes[..position]).is_err());
        }
    }

    #[test]
    fn another_version_is_refused() {
        let error = unseal::<Example>(Path::new("a.json"), &sealed(FORMAT_VERSION + 1)).unwrap_err();
        assert!(matches!(error, StoreError::Version { expected: 1, got: 2, .. }), "{error}");
        let newer = b"{\"format\": 7, \"other\": {}, \"generator\": \"hayloft 9.0.0\"}";
        let error = unseal::<Example>(Path::new("a.json"), newer).unwrap_err();
        assert!(matches!(error, StoreError::Version { got: 7, .. }), "{error}");
        assert!(error.to_string().contains("written by hayloft 9.0.0"), "{error}");
        assert!(unseal::<Example>(Path::new("a.json"), &sealed(0)).is_err());
    }

    #[test]
    fn well_sealed_nonsense_is_malformed() {
        let bytes = seal(Path::new("a.json"), &serde_json::json!({"format": 1, "mean": "none"})).unwrap();
        let error = unseal::<Example>(Path::new("a.json"), &bytes).unwrap_err();
        assert!(matches!(error, StoreError::Malformed { .. }), "{error}");
    }
}
