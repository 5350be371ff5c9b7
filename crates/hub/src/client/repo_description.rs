//! The Hub's description of a repository: `/api/models/{repo}/revision/{revision}?blobs=true`.

use hayloft_runtime::words::did_you_mean;
use serde::Deserialize;

use crate::digest::Expected;
use crate::identifiers::{Commit, is_hexadecimal};
use crate::listing::{ListedFile, Listing};
use crate::repository::Repository;
use crate::sha256::Sha256;

/// The fields of the JSON that are used.
#[derive(Deserialize)]
pub(super) struct RepoDescription {
    sha: Commit,
    siblings: Vec<FileDescription>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileDescription {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<LargeFileDescription>,
}

#[derive(Deserialize)]
struct LargeFileDescription {
    sha256: Sha256,
    size: Option<u64>,
}

/// The branches and tags: `/api/models/{repo}/refs`.
#[derive(Deserialize)]
pub(super) struct References {
    branches: Vec<Reference>,
    tags: Vec<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    name: String,
}

/// Limit on the branches and tags named in a message.
const SHOWN: usize = 12;

impl References {
    /// Says which branches and tags there are.
    pub(super) fn advice(&self, asked: &str) -> String {
        let names: Vec<&str> =
            self.branches.iter().chain(&self.tags).map(|reference| reference.name.as_str()).collect();
        let near = did_you_mean(asked, &names);
        let shown = names.iter().take(SHOWN).map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        let more = if names.len() > SHOWN { format!(" and {} more", names.len() - SHOWN) } else { String::new() };
        format!("It has {shown}{more}{near}")
    }
}

impl RepoDescription {
    /// Returns the files. The error is a message about a commit other than the requested one.
    pub(super) fn listing(self, repository: &Repository) -> Result<Listing, String> {
        match repository.revision.commit() {
            Some(asked) if asked != self.sha => Err(format!("expected commit {asked}, got {}", self.sha)),
            _ => Ok(Listing { commit: self.sha, files: self.siblings.into_iter().map(ListedFile::from).collect() }),
        }
    }
}

impl From<FileDescription> for ListedFile {
    fn from(file: FileDescription) -> Self {
        let FileDescription { rfilename: name, size, blob_id, lfs } = file;
        let (large, bytes) = lfs.map_or((None, None), |lfs| (Some(lfs.sha256), lfs.size));
        // The blob of a large file is the Git LFS pointer, not the file.
        let blob = blob_id.filter(|blob| large.is_none() && is_hexadecimal(blob, 40));
        let blob = blob.map(|blob| blob.to_ascii_lowercase());
        Self { name, expected: Expected { bytes: size.or(bytes), manifest: None, large, blob } }
    }
}
