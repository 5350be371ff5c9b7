//! `fetched.json`: where the files of a folder are from.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::names::{Commit, FileName, RepoId, Revision};
use super::{EntryKind, FetchEntry, FilePattern};
use crate::data::Sha256;

/// The record's name in the folder.
pub(super) const RECORD: &str = "fetched.json";

/// A larger record is none of ours.
const LARGEST: u64 = 64 << 20;

/// The version of the record's form.
const FORMAT: u32 = 1;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// What it is.
    pub kind: EntryKind,
    /// Where it lies on the Hub.
    pub repo: RepoId,
    /// The version, as the manifest names it.
    pub revision: Revision,
    /// The folder of the repository.
    pub folder: Option<FileName>,
    /// The files; empty stands for the default of the kind.
    pub files: Vec<FilePattern>,
}

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    format: u32,
    /// What was asked for.
    pub asked: Asked,
    /// The commit that it was taken from.
    pub commit: Commit,
    /// The files, by name.
    pub files: Vec<FetchedFile>,
}

/// A file that was fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedFile {
    /// Its name in the folder.
    pub name: FileName,
    /// Its size.
    pub bytes: u64,
    /// The hash of its bytes.
    pub sha256: Sha256,
}

impl Fetched {
    pub(super) fn new(asked: Asked, commit: Commit, files: Vec<FetchedFile>) -> Self {
        Self { format: FORMAT, asked, commit, files }
    }

    /// The record of a folder; `None` where it has none that can be read.
    pub(super) fn of(folder: &Path) -> Option<Self> {
        let path = folder.join(RECORD);
        let about = fs::symlink_metadata(&path).ok()?;
        if !about.is_file() || about.len() > LARGEST {
            return None;
        }
        let record: Self = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        (record.format == FORMAT).then_some(record)
    }

    /// Whether a folder with this record is what an entry asks for, file by file. Sizes are looked at, bytes are not.
    pub(super) fn serves(&self, entry: &FetchEntry, folder: &Path) -> bool {
        let whole = |file: &FetchedFile| {
            fs::symlink_metadata(file.name.within(folder)).is_ok_and(|is| is.is_file() && is.len() == file.bytes)
        };
        let hash = |name: &str| self.files.iter().find(|file| file.name.as_str() == name).map(|file| &file.sha256);
        self.asked == entry.asked()
            && self.files.iter().all(whole)
            && entry.sha256.iter().all(|(name, wanted)| hash(name) == Some(wanted))
    }
}
