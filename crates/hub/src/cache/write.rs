//! Additions to the cache. Other programs may add to it at the same time.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use hayloft_runtime::{Gauge, sha256_hex};

use super::CachedRepo;
use crate::client::Hub;
use crate::client::transfer::download;
use crate::digest::Expected;
use crate::error::HubError;
use crate::identifiers::{Commit, FileName, Revision};
use crate::repository::Repository;
use crate::sha256::Sha256;

impl CachedRepo {
    /// Adds a file to the snapshot of a commit: downloads its blob unless it is there, and links to it. An interrupted
    /// download is resumed by the next attempt. Returns the number of bytes received over the network.
    pub(crate) fn add(
        &self,
        hub: &Hub,
        repository: &Repository,
        commit: &Commit,
        (name, expected): (&FileName, &Expected),
        gauge: &Gauge,
    ) -> Result<u64, HubError> {
        let blobs = self.folder().join("blobs");
        create_folder(&blobs)?;
        let known = blob_name(expected);
        let key = known.clone().unwrap_or_else(|| sha256_hex(format!("{commit}/{name}").as_bytes()));
        let lock = self.lock(&key, &repository.file(name))?;
        let is_whole = |blob: &String| {
            let size = self.within(&blobs.join(blob)).and_then(|real| Some(real.metadata().ok()?.len()));
            size.is_some_and(|size| expected.bytes.is_none_or(|bytes| bytes == size))
        };
        if let Some(blob) = known.filter(is_whole) {
            gauge.advance(expected.bytes.unwrap_or_default());
            return self.link(commit, name, &blob).map(|()| 0);
        }
        // Without a lock, another process may write to a file of the same name.
        let unlocked = if lock.is_some() { String::new() } else { format!(".{}", std::process::id()) };
        let partial = blobs.join(format!("{key}{unlocked}.incomplete"));
        let downloaded = download(hub, repository, commit, (name, expected), &partial, gauge)?;
        let blob = blob_name(&downloaded.expected).unwrap_or_else(|| downloaded.sha256.to_string());
        let path = blobs.join(&blob);
        fs::rename(&partial, &path).map_err(|cause| HubError::io(&path, "create", cause))?;
        self.link(commit, name, &blob)?;
        Ok(downloaded.received)
    }

    /// Locks a blob as `huggingface_hub` does, and waits for another process that fetches it. `None` on a file system
    /// without locks.
    fn lock(&self, blob: &str, what: &str) -> Result<Option<File>, HubError> {
        let folder = self.cache.join(".locks").join(&self.name);
        create_folder(&folder)?;
        let path = folder.join(format!("{blob}.lock"));
        let failed = |cause| HubError::io(&path, "lock", cause);
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => {
                tracing::info!("{what}: another process fetches it; waiting");
                file.lock().map_err(failed)?;
                Ok(Some(file))
            }
            Err(TryLockError::Error(cause)) if cause.kind() == io::ErrorKind::Unsupported => Ok(None),
            Err(TryLockError::Error(cause)) => Err(failed(cause)),
        }
    }

    /// Links a file of a snapshot to its blob, atomically.
    fn link(&self, commit: &Commit, name: &FileName, blob: &str) -> Result<(), HubError> {
        let path = name.within(&self.snapshot(commit));
        let up = "../".repeat(name.as_str().split('/').count() + 1);
        let target = PathBuf::from(format!("{up}blobs/{blob}"));
        if fs::read_link(&path).is_ok_and(|there| there == target) {
            return Ok(());
        }
        self.place(&path, ".link-", |temporary| symlink(&target, temporary))
    }

    /// Makes a file or link beside the cache's other files, and gives it its name.
    fn place(&self, path: &Path, prefix: &str, make: impl FnMut(&Path) -> io::Result<()>) -> Result<(), HubError> {
        create_folder(path.parent().unwrap_or(path))?;
        tempfile::Builder::new()
            .prefix(prefix)
            .make_in(self.folder(), make)
            .and_then(|made| made.into_temp_path().persist(path).map_err(io::Error::from))
            .map_err(|cause| HubError::io(path, "create", cause))
    }

    /// Records that a commit lacks a file, so that the Hub is not asked again. A cache that cannot be written to is left
    /// as it is.
    pub(crate) fn mark_absent(&self, commit: &Commit, name: &FileName) {
        let path = name.within(&self.absent(commit));
        let marked = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| File::create(&path));
        if let Err(cause) = marked {
            tracing::debug!("{}: {cause}", path.display());
        }
    }

    /// Records the commit of a branch or tag, atomically.
    pub(crate) fn set_reference(&self, revision: &Revision, commit: &Commit) -> Result<(), HubError> {
        if revision.commit().is_some() || self.commit(revision).as_ref() == Some(commit) {
            return Ok(());
        }
        self.place(&self.reference(revision), ".ref-", |temporary| fs::write(temporary, commit.as_str()))
    }
}

/// Returns the name of a file's blob: its SHA-256, or git's blob id of a small file.
fn blob_name(expected: &Expected) -> Option<String> {
    expected.large.as_ref().map(Sha256::to_string).or_else(|| expected.blob.clone())
}

fn create_folder(path: &Path) -> Result<(), HubError> {
    fs::create_dir_all(path).map_err(|cause| HubError::io(path, "create", cause))
}
