//! A repository of the Hub at a revision.

use std::fmt;

use hf_hub::{Repo, RepoType};

use crate::identifiers::{FileName, RepoId, Revision};

/// The kind of a repository. SAEs are in model repositories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepoKind {
    /// A model, or SAEs.
    Model,
    /// A dataset.
    Dataset,
}

/// Where a repository is named. Decides what a message says to correct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedIn {
    /// In a fetch manifest.
    FetchManifest,
    /// In an argument, such as `google/gemma-2-2b@main`.
    Argument,
}

/// A repository of the Hub at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// The kind.
    pub kind: RepoKind,
    /// The id.
    pub id: RepoId,
    /// The revision.
    pub revision: Revision,
    /// Where it is named.
    pub named_in: NamedIn,
}

impl Repository {
    /// Returns the repository at a revision as `hf-hub`'s type.
    pub(crate) fn at(&self, revision: &str) -> Repo {
        let kind = match self.kind {
            RepoKind::Model => RepoType::Model,
            RepoKind::Dataset => RepoType::Dataset,
        };
        Repo::with_revision(self.id.to_string(), kind, revision.to_owned())
    }

    /// Returns the repository at its own revision as `hf-hub`'s type.
    pub(crate) fn repo(&self) -> Repo {
        self.at(self.revision.as_str())
    }

    /// Names a file of the repository, for messages.
    pub fn file(&self, name: &FileName) -> String {
        format!("{}: {name}", self.id)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} at {}", self.id, self.revision)
    }
}
