//! Hashes of the files of an SAE.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A file's name, size and hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileHash {
    /// Name within its folder.
    pub file: String,
    /// Size in bytes.
    pub bytes: u64,
    /// BLAKE3, hexadecimal.
    pub blake3: String,
}

impl FileHash {
    /// Hashes a file of `folder` on all cores.
    pub fn of(folder: &Path, file: &str) -> io::Result<Self> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_mmap_rayon(folder.join(file))?;
        Ok(Self { file: file.to_owned(), bytes: hasher.count(), blake3: hasher.finalize().to_hex().to_string() })
    }
}
