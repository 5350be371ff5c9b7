//! One model, dataset or SAE that is wanted.

use std::collections::BTreeMap;

use hf_hub::Repo;

use super::names::{EntryName, FileName, RepoId, Revision};
use super::record::Asked;
use super::{EntryKind, FilePattern};
use crate::data::Sha256;

/// An entry of a fetch manifest.
#[derive(Debug, Clone)]
pub struct FetchEntry {
    /// What it is called; also the name of its folder.
    pub name: EntryName,
    /// What it is.
    pub kind: EntryKind,
    /// Where it lies on the Hub.
    pub repo: RepoId,
    /// The version of it.
    pub revision: Revision,
    /// The folder of the repository that it lies in; `None` is the repository itself.
    pub folder: Option<FileName>,
    /// The files wanted, by their names in that folder. Empty stands for the default of the kind.
    pub files: Vec<FilePattern>,
    /// The SHA-256 that files must have, by their names in that folder.
    pub sha256: BTreeMap<String, Sha256>,
}

impl FetchEntry {
    /// What is asked for, as it is recorded.
    pub(super) fn asked(&self) -> Asked {
        Asked {
            kind: self.kind,
            repo: self.repo.clone(),
            revision: self.revision.clone(),
            folder: self.folder.clone(),
            files: self.files.clone(),
        }
    }

    /// The repository at a revision, as `hf-hub` has it.
    pub(super) fn repo_at(&self, revision: &str) -> Repo {
        Repo::with_revision(self.repo.to_string(), self.kind.repo_type(), revision.to_owned())
    }

    /// A file of the repository, for messages.
    pub(super) fn file(&self, name: &FileName) -> String {
        format!("{}: {name}", self.repo)
    }

    /// The patterns of the files that are wanted.
    pub(super) fn patterns(&self) -> Vec<FilePattern> {
        if self.files.is_empty() { fixed(self.kind.default_files()) } else { self.files.clone() }
    }

    /// The patterns that must match something.
    pub(super) fn required_patterns(&self) -> Vec<FilePattern> {
        if self.files.is_empty() { fixed(self.kind.required_files()) } else { self.files.clone() }
    }
}

/// Patterns of this program's own, each of which is one.
fn fixed(patterns: &[&str]) -> Vec<FilePattern> {
    patterns.iter().filter_map(|pattern| FilePattern::try_from((*pattern).to_owned()).ok()).collect()
}
