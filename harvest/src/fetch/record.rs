//! `fetched.json`: the source of the files in a folder.

use std::fs;
use std::path::Path;

use hayloft_hub::{Commit, FileName, RepoId, Revision, Sha256};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{EntryKind, FetchEntry, FetchError, FilePattern};

/// File name of the record.
pub(super) const RECORD: &str = "fetched.json";

/// Size limit of a record.
const LARGEST: u64 = 64 << 20;

/// The format version of the record.
const FORMAT: u32 = 1;

/// The request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchRequest {
    /// The kind of entry.
    pub kind: EntryKind,
    /// The Hub repository.
    pub repo: RepoId,
    /// The revision, as the manifest names it.
    pub revision: Revision,
    /// The folder within the repository.
    pub folder: Option<FileName>,
    /// The file patterns; empty for the kind's default.
    pub files: Vec<FilePattern>,
}

/// A completed fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    format: u32,
    /// The request.
    pub request: FetchRequest,
    /// The fetched commit.
    pub commit: Commit,
    /// The files, by name.
    pub files: Vec<FetchedFile>,
}

/// A fetched file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedFile {
    /// The name in the folder.
    pub name: FileName,
    /// The size in bytes.
    pub bytes: u64,
    /// The SHA-256 of the bytes.
    pub sha256: Sha256,
}

impl Fetched {
    pub(super) fn new(request: FetchRequest, commit: Commit, files: Vec<FetchedFile>) -> Self {
        Self { format: FORMAT, request, commit, files }
    }

    /// Reads the record of a folder; `None` if it has no readable record. Returns an error if the record has another
    /// format.
    pub(super) fn of(folder: &Path) -> Result<Option<Self>, FetchError> {
        let path = folder.join(RECORD);
        let is_readable = |about: fs::Metadata| about.is_file() && about.len() <= LARGEST;
        if !fs::symlink_metadata(&path).is_ok_and(is_readable) {
            return Ok(None);
        }
        let value: Option<Value> = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let Some(value) = value else { return Ok(None) };
        match value.get("format") {
            Some(format) if *format != FORMAT => {
                Err(FetchError::RecordFormat { path, expected: FORMAT, got: format.to_string() })
            }
            _ => Ok(serde_json::from_value(value).ok()),
        }
    }

    /// Returns whether a folder with this record satisfies an entry, file by file. Checks sizes, not bytes.
    pub(super) fn serves(&self, entry: &FetchEntry, folder: &Path) -> bool {
        let whole = |file: &FetchedFile| {
            fs::symlink_metadata(file.name.within(folder)).is_ok_and(|is| is.is_file() && is.len() == file.bytes)
        };
        let hash = |name: &str| self.files.iter().find(|file| file.name.as_str() == name).map(|file| &file.sha256);
        self.request == entry.request()
            && self.files.iter().all(whole)
            && entry.sha256.iter().all(|(name, wanted)| hash(name) == Some(wanted))
    }
}
