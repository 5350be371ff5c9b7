//! A staging folder beside its destination, moved there by an atomic rename.
//!
//! ```text
//! OUT/mistral-7b/                  complete, with fetched.json
//! OUT/.mistral-7b.partial/lock     held by the process that fills it
//!                        /for.json   the purpose
//!                        /files/…    complete files, which become OUT/mistral-7b
//!                        /incomplete/HASH   a partial file
//! ```
//!
//! Its content is kept after a failure, so that the next attempt requests only the rest.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use hayloft_hub::{Commit, FileName};

use super::record::RECORD;
use super::selection::WantedFile;
use super::{EntryName, FetchError, Fetched};

/// A folder being filled, locked against other processes.
#[derive(Debug)]
pub(super) struct Staging {
    folder: PathBuf,
    destination: PathBuf,
    /// The lock; released on drop.
    _lock: File,
}

impl Staging {
    /// Opens the staging folder of `destination`, with the files of an earlier attempt with the same `purpose`. Files
    /// of any other purpose are removed.
    pub(super) fn open(out: &Path, name: &EntryName, purpose: &str) -> Result<Self, FetchError> {
        let destination = out.join(name.as_str());
        let folder = out.join(format!(".{name}.partial"));
        if fs::symlink_metadata(&folder).is_ok_and(|is| !is.is_dir()) {
            return Err(FetchError::NotFetched { path: folder });
        }
        fs::create_dir_all(&folder).map_err(|cause| FetchError::io(&folder, "create", cause))?;
        let lock_path = folder.join("lock");
        let lock = File::create(&lock_path).map_err(|cause| FetchError::io(&lock_path, "create", cause))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FetchError::Busy { path: folder }),
            Err(TryLockError::Error(cause)) => return Err(FetchError::io(&lock_path, "lock", cause)),
        }
        let staging = Self { folder, destination, _lock: lock };
        let purpose_path = staging.folder.join("for.json");
        if fs::read_to_string(&purpose_path).ok().as_deref() != Some(purpose) {
            remove_entry(&staging.folder.join("files"))?;
            fs::write(&purpose_path, purpose).map_err(|cause| FetchError::io(&purpose_path, "write", cause))?;
        }
        for part in ["files", "incomplete"] {
            make_folder(&staging.folder.join(part))?;
        }
        Ok(staging)
    }

    /// Returns the path of a complete file.
    pub(super) fn whole(&self, local: &FileName) -> Result<PathBuf, FetchError> {
        let files = self.folder.join("files");
        let path = local.within(&files);
        // Each folder on the way is created or checked here, so none is a symbolic link out of the folder.
        let between = path.strip_prefix(&files).ok().and_then(Path::parent).unwrap_or(Path::new(""));
        let mut folder = files;
        for part in between.components() {
            folder.push(part);
            make_folder(&folder)?;
        }
        Ok(path)
    }

    /// Returns the path of a partial file. Its name identifies the expected bytes, so that a download of another
    /// version is not resumed.
    pub(super) fn incomplete(&self, commit: &Commit, file: &WantedFile) -> Result<PathBuf, FetchError> {
        let expected = &file.expected;
        let name = match (&expected.large, &expected.blob) {
            (Some(large), _) => large.to_string(),
            (None, Some(blob)) => blob.clone(),
            (None, None) => blake3::hash(format!("{commit}/{}", file.remote).as_bytes()).to_string(),
        };
        let path = self.folder.join("incomplete").join(name);
        if fs::symlink_metadata(&path).is_ok_and(|is| !is.is_file()) {
            remove_entry(&path)?;
        }
        Ok(path)
    }

    /// Moves a complete and verified file to its name.
    pub(super) fn finish(&self, incomplete: &Path, local: &FileName) -> Result<(), FetchError> {
        let path = self.whole(local)?;
        fs::rename(incomplete, &path).map_err(|cause| FetchError::io(&path, "create", cause))
    }

    /// Takes a local file: a hard link where the file system allows it, else a copy.
    pub(super) fn take(&self, from: &Path, local: &FileName) -> Result<(), FetchError> {
        let path = self.whole(local)?;
        remove_entry(&path)?;
        if fs::hard_link(from, &path).is_ok() {
            return Ok(());
        }
        let beside = self.folder.join("incomplete").join("copy");
        fs::copy(from, &beside)
            .and_then(|_| File::open(&beside)?.sync_all())
            .and_then(|()| fs::rename(&beside, &path))
            .map_err(|cause| FetchError::io(&path, "copy", cause))
    }

    /// Renames the folder to its destination, with its record. Removes an earlier fetch at that path.
    pub(super) fn commit(self, record: &Fetched) -> Result<(), FetchError> {
        let files = self.folder.join("files");
        let record_path = files.join(RECORD);
        serde_json::to_string_pretty(record)
            .map_err(io::Error::from)
            .and_then(|text| fs::write(&record_path, text + "\n"))
            .and_then(|()| File::open(&record_path)?.sync_all())
            .map_err(|cause| FetchError::io(&record_path, "write", cause))?;
        let replaced = self.folder.join("replaced");
        remove_entry(&replaced)?;
        let there = fs::symlink_metadata(&self.destination).is_ok();
        if there {
            fs::rename(&self.destination, &replaced)
                .map_err(|cause| FetchError::io(&self.destination, "move away", cause))?;
        }
        if let Err(cause) = fs::rename(&files, &self.destination) {
            if there {
                // The first error is the one to report.
                let _ = fs::rename(&replaced, &self.destination);
            }
            return Err(FetchError::io(&self.destination, "give the finished folder its name", cause));
        }
        remove_entry(&self.folder)
    }
}

/// Creates a folder unless it exists. Refuses a symbolic link.
fn make_folder(path: &Path) -> Result<(), FetchError> {
    match fs::symlink_metadata(path) {
        Ok(is) if is.is_dir() => Ok(()),
        Ok(_) => Err(FetchError::NotFetched { path: path.to_owned() }),
        Err(_) => fs::create_dir(path).map_err(|cause| FetchError::io(path, "create", cause)),
    }
}

/// Removes a file, a symbolic link or a folder, if it exists. Does not follow links.
fn remove_entry(path: &Path) -> Result<(), FetchError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(is) if is.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(cause),
    };
    removed.map_err(|cause| FetchError::io(path, "remove", cause))
}
