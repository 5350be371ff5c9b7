//! Hashes of a file: expected and actual.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use hayloft_runtime::hexadecimal;
use sha2::Digest;

use crate::error::{HashSource, HubError};
use crate::sha256::Sha256;

/// What is known of a file before it is downloaded.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// The size in bytes.
    pub bytes: Option<u64>,
    /// The SHA-256 in the fetch manifest, if it names one.
    pub manifest: Option<Sha256>,
    /// The Hub's SHA-256 of a large file (Git LFS or Xet).
    pub large: Option<Sha256>,
    /// The Hub's git blob id of a small file: SHA-1 over `blob SIZE\0` and the bytes, in hexadecimal.
    pub blob: Option<String>,
}

/// Incremental hashes of the bytes so far.
#[derive(Debug)]
pub struct Hashing {
    /// The bytes so far.
    pub bytes: u64,
    sha256: sha2::Sha256,
    blob: Option<sha1::Sha1>,
}

impl Hashing {
    /// Starts hashing an empty file.
    pub fn new(expected: &Expected) -> Self {
        let blob = expected.bytes.filter(|_| expected.blob.is_some());
        let blob = blob.map(|bytes| sha1::Sha1::new_with_prefix(format!("blob {bytes}\0")));
        Self { bytes: 0, sha256: sha2::Sha256::new(), blob }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.sha256.update(bytes);
        if let Some(blob) = &mut self.blob {
            blob.update(bytes);
        }
    }

    /// Hashes a file's content and reports progress.
    pub fn read(&mut self, path: &Path, mut tell: impl FnMut(u64)) -> io::Result<()> {
        let mut file = File::open(path)?;
        let mut buffer = vec![0; 1 << 18];
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            self.update(&buffer[..count]);
            tell(count as u64);
        }
    }

    /// Returns the file's SHA-256 if all hashes match. `what` names the file in messages.
    pub fn finish(self, expected: &Expected, what: &str) -> Result<Sha256, HubError> {
        let wrong = |hash, expected: String, got: String| {
            let (what, said_by) = (what.to_owned(), HashSource::Hub);
            HubError::Hash { what, hash, expected, said_by, got }
        };
        let got = Sha256::from_bytes(&self.sha256.finalize());
        if let Some(large) = expected.large.as_ref().filter(|large| **large != got) {
            return Err(wrong("sha256", large.to_string(), got.to_string()));
        }
        if let (Some(blob), Some(hash)) = (&expected.blob, self.blob) {
            let got = hexadecimal(&hash.finalize());
            if *blob != got {
                return Err(wrong("git blob", blob.clone(), got));
            }
        }
        match expected.manifest.as_ref().filter(|manifest| **manifest != got) {
            Some(manifest) => Err(another_version(what, manifest, &got)),
            None => Ok(got),
        }
    }
}

/// Returns the error of an intact file whose hash differs from the manifest's.
pub fn another_version(what: &str, manifest: &Sha256, got: &Sha256) -> HubError {
    HubError::Hash {
        what: what.to_owned(),
        hash: "sha256",
        expected: manifest.to_string(),
        said_by: HashSource::FetchManifest,
        got: got.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf 'hello\n' | git hash-object --stdin` and `printf 'hello\n' | sha256sum`.
    const BLOB: &str = "ce013625030ba8dba906f756967f9e9ca394464a";
    const SHA256: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

    fn finish(expected: &Expected) -> Result<String, String> {
        let mut hashing = Hashing::new(expected);
        hashing.update(b"hel");
        hashing.update(b"lo\n");
        hashing.finish(expected, "o/m config.json").map(|hash| hash.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn hashes_are_those_of_git_and_sha256sum() {
        let sha256 = Sha256::try_from(SHA256.to_owned()).unwrap();
        let expected = Expected {
            bytes: Some(6),
            manifest: Some(sha256.clone()),
            large: Some(sha256),
            blob: Some(BLOB.to_owned()),
        };
        assert_eq!(finish(&expected).unwrap(), SHA256);
        assert_eq!(finish(&Expected::default()).unwrap(), SHA256);
    }

    #[test]
    fn each_hash_that_differs_is_named() {
        let other = Sha256::try_from("0".repeat(64)).unwrap();
        let large = Expected { large: Some(other.clone()), ..Expected::default() };
        let manifest = Expected { manifest: Some(other), ..Expected::default() };
        let blob = Expected { bytes: Some(6), blob: Some("0".repeat(40)), ..Expected::default() };
        for (expected, words) in [(large, "the Hub says so"), (manifest, "the fetch manifest says so"), (blob, BLOB)] {
            let message = finish(&expected).unwrap_err();
            assert!(message.contains(words) && message.contains("not kept"), "{message}");
        }
    }
}
