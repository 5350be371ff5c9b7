//! An entry of a fetch manifest: a model, dataset or SAE.

use std::collections::BTreeMap;
use std::fmt;

use hayloft_hub::{FileName, NamedIn, RepoId, Repository, Revision, Sha256};
use serde::{Deserialize, Serialize};

use super::record::FetchRequest;
use super::{EntryKind, FilePattern};

/// The name of an entry and of its folder: letters, digits, `-`, `_` and inner dots.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EntryName(String);

impl TryFrom<String> for EntryName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // The name of a repository has the same characters.
        if !text.contains('/') && RepoId::try_from(text.clone()).is_ok() {
            return Ok(Self(text));
        }
        Err(format!("expected a name of letters, digits, -, _ and dots, such as \"mistral-7b\", got {text:?}"))
    }
}

impl EntryName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<EntryName> for String {
    fn from(name: EntryName) -> Self {
        name.0
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// An entry of a fetch manifest.
#[derive(Debug, Clone)]
pub struct FetchEntry {
    /// The entry's name, also its folder's name.
    pub name: EntryName,
    /// The kind of entry.
    pub kind: EntryKind,
    /// The Hub repository.
    pub repo: RepoId,
    /// The revision.
    pub revision: Revision,
    /// The folder within the repository; `None` for the root.
    pub folder: Option<FileName>,
    /// Patterns of the files to fetch, relative to the folder. Empty for the kind's default.
    pub files: Vec<FilePattern>,
    /// Required SHA-256 hashes by file name, relative to the folder.
    pub sha256: BTreeMap<String, Sha256>,
}

impl FetchEntry {
    /// Returns the request as it is recorded.
    pub(super) fn request(&self) -> FetchRequest {
        FetchRequest {
            kind: self.kind,
            repo: self.repo.clone(),
            revision: self.revision.clone(),
            folder: self.folder.clone(),
            files: self.files.clone(),
        }
    }

    /// Returns the repository.
    pub(super) fn repository(&self) -> Repository {
        let (kind, id, revision) = (self.kind.repo_kind(), self.repo.clone(), self.revision.clone());
        Repository { kind, id, revision, named_in: NamedIn::FetchManifest }
    }

    /// Returns the patterns of the files to fetch.
    pub(super) fn patterns(&self) -> Vec<FilePattern> {
        if self.files.is_empty() { fixed(self.kind.default_files()) } else { self.files.clone() }
    }

    /// Returns the patterns that must match a file.
    pub(super) fn required_patterns(&self) -> Vec<FilePattern> {
        if self.files.is_empty() { fixed(self.kind.required_files()) } else { self.files.clone() }
    }
}

/// Parses this crate's constant patterns.
fn fixed(patterns: &[&str]) -> Vec<FilePattern> {
    patterns.iter().filter_map(|pattern| FilePattern::try_from((*pattern).to_owned()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for hostile in ["", "..", ".hidden", "a/b", "a b"] {
            assert!(EntryName::try_from(hostile.to_owned()).is_err(), "{hostile}");
        }
        assert_eq!(EntryName::try_from("mistral-7b".to_owned()).unwrap().as_str(), "mistral-7b");
    }
}
