//! The files of a repository.

use crate::digest::Expected;
use crate::error::HubError;
use crate::identifiers::{Commit, FileName};
use crate::repository::Repository;

/// A repository at one commit.
#[derive(Debug)]
pub struct Listing {
    /// The commit.
    pub commit: Commit,
    /// The files.
    pub files: Vec<ListedFile>,
}

/// A file of a repository.
#[derive(Debug)]
pub struct ListedFile {
    /// The name as the server gives it; untrusted.
    pub name: String,
    /// What is known of the content.
    pub expected: Expected,
}

impl ListedFile {
    /// Checks the name. Returns an error if a file of this name would leave its folder.
    pub fn checked_name(&self, repository: &Repository) -> Result<FileName, HubError> {
        FileName::try_from(self.name.clone())
            .map_err(|problem| HubError::HostileName { repo: repository.id.to_string(), problem })
    }
}
