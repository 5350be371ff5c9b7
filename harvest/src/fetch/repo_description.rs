//! The Hub's description of a repository: `/api/models/{repo}/revision/{revision}?blobs=true`.

use serde::Deserialize;

use super::FetchEntry;
use super::digest::Expected;
use super::identifiers::{Commit, is_hexadecimal};
use super::listing::{ListedFile, Listing};
use crate::data::Sha256;

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

impl RepoDescription {
    /// Returns the files. The error is a message about a commit other than the requested one.
    pub(super) fn listing(self, entry: &FetchEntry) -> Result<Listing, String> {
        match entry.revision.commit() {
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
