//! An entry of a fetch manifest: a model, dataset or SAE.

use std::collections::BTreeMap;

use hf_hub::Repo;

use super::identifiers::{EntryName, FileName, RepoId, Revision};
use super::record::FetchRequest;
use super::{EntryKind, FilePattern};
use crate::data::Sha256;

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

    /// Returns the repository at a revision as `hf-hub`'s type.
    pub(super) fn repo_at(&self, revision: &str) -> Repo {
        Repo::with_revision(self.repo.to_string(), self.kind.repo_type(), revision.to_owned())
    }

    /// Names a file of the repository, for messages.
    pub(super) fn file(&self, name: &FileName) -> String {
        format!("{}: {name}", self.repo)
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
