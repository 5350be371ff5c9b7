//! The cache that Hugging Face's programs share, `$HF_HOME/hub`.

mod write;

use std::fs;
use std::path::{Path, PathBuf};

use crate::digest::Expected;
use crate::identifiers::{Commit, FileName, Revision, is_hexadecimal};
use crate::listing::{ListedFile, Listing};
use crate::repository::Repository;
use crate::sha256::Sha256;

/// One repository in the cache.
///
/// ```text
/// models--mistralai--Mistral-7B-v0.1/refs/main               the commit
///                                   /snapshots/COMMIT/…      links to the blobs
///                                   /blobs/HASH              SHA-256, or git's blob id for small files
///                                   /.no_exist/COMMIT/…      an empty file for each name that the commit lacks
/// blobs/…                            large blobs of several repositories, which their blobs are links to
/// .locks/models--mistralai--…        a lock for each blob that is being fetched
/// ```
#[derive(Debug)]
pub struct CachedRepo {
    cache: PathBuf,
    /// `models--OWNER--NAME`.
    name: String,
}

/// Limit on the depth of folders.
const DEEPEST: usize = 16;

impl CachedRepo {
    /// Returns a repository in a cache, whether it is there or not.
    pub fn of(repository: &Repository, cache: &Path) -> Self {
        Self { cache: cache.to_owned(), name: repository.repo().folder_name() }
    }

    fn folder(&self) -> PathBuf {
        self.cache.join(&self.name)
    }

    /// Returns the commit of a revision, if it is cached.
    pub fn commit(&self, revision: &Revision) -> Option<Commit> {
        revision.commit().or_else(|| {
            let reference = fs::read_to_string(self.reference(revision)).ok()?;
            Commit::try_from(reference.trim().to_owned()).ok()
        })
    }

    /// Returns the cached files of a revision; `None` if there are none.
    pub fn listing(&self, revision: &Revision) -> Option<Listing> {
        let commit = self.commit(revision)?;
        let snapshot = self.snapshot(&commit);
        let mut files = Vec::new();
        collect(&snapshot, "", DEEPEST, &mut files);
        files.sort();
        let files: Vec<_> = files
            .into_iter()
            .filter_map(|name| {
                let checked = FileName::try_from(name.clone()).ok()?;
                let file = self.file(&commit, &checked)?;
                Some(ListedFile { expected: expected(&checked.within(&snapshot), &file), name })
            })
            .collect();
        (!files.is_empty()).then_some(Listing { commit, files })
    }

    /// Returns the real path of a cached file, if it exists and lies within the cache: in the repository's folder, or
    /// among the blobs that repositories share.
    pub fn file(&self, commit: &Commit, name: &FileName) -> Option<PathBuf> {
        self.within(&name.within(&self.snapshot(commit)))
    }

    /// Returns the real path of a file, unless it leads out of the cache.
    fn within(&self, path: &Path) -> Option<PathBuf> {
        let real = path.canonicalize().ok()?;
        let is_in = |folder: PathBuf| folder.canonicalize().is_ok_and(|folder| real.starts_with(folder));
        let is_within = is_in(self.folder()) || is_in(self.cache.join("blobs"));
        (is_within && real.is_file()).then_some(real)
    }

    /// Returns whether a commit is known to lack a file.
    pub(crate) fn is_absent(&self, commit: &Commit, name: &FileName) -> bool {
        name.within(&self.absent(commit)).is_file()
    }

    /// Returns the folder of a commit's files.
    pub(crate) fn snapshot(&self, commit: &Commit) -> PathBuf {
        self.folder().join("snapshots").join(commit.as_str())
    }

    fn absent(&self, commit: &Commit) -> PathBuf {
        self.folder().join(".no_exist").join(commit.as_str())
    }

    fn reference(&self, revision: &Revision) -> PathBuf {
        self.folder().join("refs").join(revision.as_str())
    }
}

/// Returns what the name of a file's blob says of its content. The blob is what the file links to; it may be a link to a
/// shared blob, whose name is no hash of the content.
fn expected(path: &Path, file: &Path) -> Expected {
    let blob = fs::read_link(path).unwrap_or_default();
    let name = blob.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Expected {
        bytes: fs::metadata(file).ok().map(|about| about.len()),
        manifest: None,
        large: Sha256::try_from(name.clone()).ok(),
        blob: is_hexadecimal(&name, 40).then_some(name),
    }
}

/// Collects the names of all files in a folder, with their folder prefix.
fn collect(folder: &Path, before: &str, deeper: usize, names: &mut Vec<String>) {
    let Some(deeper) = deeper.checked_sub(1) else { return };
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.filter_map(Result::ok) {
        let name = format!("{before}{}", entry.file_name().to_string_lossy());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => collect(&entry.path(), &format!("{name}/"), deeper, names),
            _ => names.push(name),
        }
    }
}
