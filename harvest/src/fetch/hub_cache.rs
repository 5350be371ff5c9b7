//! Hugging Face's own cache, `$HF_HOME/hub`. Read-only.

use std::fs;
use std::path::{Path, PathBuf};

use hf_hub::Cache;

use super::FetchEntry;
use super::digest::Expected;
use super::identifiers::{Commit, FileName, is_hexadecimal};
use super::listing::{ListedFile, Listing};
use crate::data::Sha256;

/// One repository in the cache.
///
/// ```text
/// models--mistralai--Mistral-7B-v0.1/refs/main              the commit
///                                   /snapshots/COMMIT/…     links to the blobs
///                                   /blobs/HASH             SHA-256, or git's blob id for small files
/// ```
#[derive(Debug)]
pub(super) struct CachedRepo {
    folder: PathBuf,
}

/// Limit on the depth of folders.
const DEEPEST: usize = 16;

impl CachedRepo {
    pub(super) fn of(entry: &FetchEntry, cache: &Path) -> Self {
        let repo = entry.repo_at(entry.revision.as_str());
        Self { folder: Cache::new(cache.to_owned()).path().join(repo.folder_name()) }
    }

    /// Returns the cached files of an entry's revision; `None` if it is not cached.
    pub(super) fn listing(&self, entry: &FetchEntry) -> Option<Listing> {
        let commit = entry.revision.commit().or_else(|| {
            let reference = fs::read_to_string(self.folder.join("refs").join(entry.revision.as_str())).ok()?;
            Commit::try_from(reference.trim().to_owned()).ok()
        })?;
        let snapshot = self.snapshot(&commit);
        let mut files = Vec::new();
        collect(&snapshot, "", DEEPEST, &mut files);
        let files: Vec<_> = files
            .into_iter()
            .filter_map(|name| {
                let blob = self.file(&commit, &FileName::try_from(name.clone()).ok()?)?;
                Some(ListedFile { expected: expected(&blob), name })
            })
            .collect();
        (!files.is_empty()).then_some(Listing { commit, files })
    }

    /// Returns the path of a cached file, if it exists and lies within the cache.
    pub(super) fn file(&self, commit: &Commit, name: &FileName) -> Option<PathBuf> {
        let real = name.within(&self.snapshot(commit)).canonicalize().ok()?;
        let within = real.starts_with(self.folder.canonicalize().ok()?);
        (within && real.is_file()).then_some(real)
    }

    fn snapshot(&self, commit: &Commit) -> PathBuf {
        self.folder.join("snapshots").join(commit.as_str())
    }
}

/// Returns what a blob's name says of its content.
fn expected(blob: &Path) -> Expected {
    let name = blob.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Expected {
        bytes: fs::metadata(blob).ok().map(|about| about.len()),
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
