//! Where claims are stored: a shared folder or a bucket.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{Result, StoreError};
use crate::format::shard_record::CLAIMS_FOLDER;

/// Tries to create a claim while its folder keeps being removed.
const ATTEMPTS: u32 = 20;

/// Upper bound on the size of a claim.
const MAX_BYTES: u64 = 1 << 20;

/// A store of small named files with atomic create-if-absent.
pub(crate) trait ClaimPlace: Debug + Send + Sync {
    /// Returns the contents of a file; `None` if it does not exist.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>>;
    /// Creates a file if it does not exist, and returns whether it did. Of several concurrent callers, exactly one succeeds.
    fn create(&self, name: &str, bytes: &[u8]) -> Result<bool>;
    /// Creates or replaces a file.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()>;
    /// Removes a file if it exists.
    fn remove(&self, name: &str) -> Result<()>;
    /// Removes all claims.
    fn clear(&self) -> Result<()>;
}

/// Claims in a folder. They mean nothing after their owners end, so nothing is synced and nothing goes through
/// [`Disk`](crate::fs::disk::Disk), as with the lock file.
#[derive(Debug)]
pub(crate) struct FolderClaims {
    cache: PathBuf,
    /// The suffix of temporary names: the worker's name.
    worker: String,
}

impl FolderClaims {
    /// Opens the claims of the cache in this folder.
    pub(crate) fn open(cache: &Path, worker: &str) -> Result<Self> {
        let folder = cache.join(CLAIMS_FOLDER);
        make_folder(&folder).map_err(|cause| StoreError::io(&folder, "create", cause))?;
        Ok(Self { cache: cache.to_owned(), worker: worker.to_owned() })
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.cache.join(format!("{name}.{}.partial", self.worker));
        let mut written = fs::write(&path, bytes);
        for _ in 1..ATTEMPTS {
            // A worker that found all shards whole has removed the folder.
            if !written.as_ref().is_err_and(|cause| cause.kind() == io::ErrorKind::NotFound) {
                break;
            }
            written = make_folder(&self.cache.join(CLAIMS_FOLDER)).and_then(|()| fs::write(&path, bytes));
        }
        written.map_err(|cause| StoreError::io(&path, "write", cause))?;
        Ok(path)
    }
}

impl ClaimPlace for FolderClaims {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.cache.join(name);
        let failed = |cause| StoreError::io(&path, "read", cause);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.len() > MAX_BYTES => Ok(Some(Vec::new())),
            Ok(_) => match fs::read(&path) {
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
                read => read.map(Some).map_err(failed),
            },
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(failed(cause)),
        }
    }

    /// Hard-links a file that is already written, which is atomic on every file system, including network ones.
    fn create(&self, name: &str, bytes: &[u8]) -> Result<bool> {
        let path = self.cache.join(name);
        for attempt in 1.. {
            let temporary = self.write(name, bytes)?;
            let linked = match fs::hard_link(&temporary, &path) {
                Ok(()) => Ok(true),
                Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                // A worker that found all shards whole has removed the folder in between.
                Err(cause) if cause.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => continue,
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => Err(cause),
                // The file system has no hard links. A reader that sees the file before it is filled finds no valid claim.
                Err(_) => create_new(&path, bytes),
            };
            // A leftover temporary file is harmless and goes with the folder.
            let _ = fs::remove_file(&temporary);
            return linked.map_err(|cause| StoreError::io(&path, "create", cause));
        }
        Ok(false)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.cache.join(name);
        let temporary = self.write(name, bytes)?;
        fs::rename(&temporary, &path).map_err(|cause| StoreError::io(&path, "replace", cause))
    }

    fn remove(&self, name: &str) -> Result<()> {
        let path = self.cache.join(name);
        absent_is_done(fs::remove_file(&path)).map_err(|cause| StoreError::io(&path, "remove", cause))
    }

    fn clear(&self) -> Result<()> {
        let folder = self.cache.join(CLAIMS_FOLDER);
        match absent_is_done(fs::remove_dir_all(&folder)) {
            // Another worker is just joining. It finds all shards whole and clears up after itself.
            Err(cause) if cause.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            removed => removed.map_err(|cause| StoreError::io(&folder, "remove", cause)),
        }
    }
}

/// Creates a folder that other processes may be creating or removing at the same time.
fn make_folder(folder: &Path) -> io::Result<()> {
    match fs::create_dir_all(folder) {
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn create_new(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    match File::create_new(path) {
        Ok(mut file) => file.write_all(bytes).map(|()| true),
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(cause) => Err(cause),
    }
}

pub(super) fn absent_is_done(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    #[cfg(feature = "remote")]
    use crate::remote::{Remote, RemoteOptions};

    fn places(folder: &Path) -> Vec<Box<dyn ClaimPlace>> {
        let mut places: Vec<Box<dyn ClaimPlace>> =
            vec![Box::new(FolderClaims::open(&folder.join("cache"), "w").unwrap())];
        #[cfg(feature = "remote")]
        {
            let location = format!("file://{}", folder.join("bucket").display()).parse().unwrap();
            fs::create_dir_all(folder.join("bucket")).unwrap();
            places.push(Box::new(Remote::connect(&location, &RemoteOptions::default()).unwrap()));
        }
        places
    }

    #[test]
    fn a_claim_is_made_once_replaced_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        for place in places(folder.path()) {
            assert_eq!(place.read("claims/00001.0").unwrap(), None);
            assert!(place.create("claims/00001.0", b"one").unwrap());
            assert!(!place.create("claims/00001.0", b"two").unwrap());
            assert_eq!(place.read("claims/00001.0").unwrap().unwrap(), b"one");
            place.replace("claims/00001.0", b"three").unwrap();
            assert_eq!(place.read("claims/00001.0").unwrap().unwrap(), b"three");
            place.remove("claims/00001.0").unwrap();
            place.remove("claims/00001.0").unwrap();
            assert_eq!(place.read("claims/00001.0").unwrap(), None);
            assert!(place.create("claims/00002.0", b"one").unwrap());
            // What a killed folder client leaves behind.
            let bucket = folder.path().join("bucket/claims");
            if bucket.exists() {
                fs::write(bucket.join("00009.0#1"), "half").unwrap();
            }
            place.clear().unwrap();
            place.clear().unwrap();
            assert!(!bucket.exists());
            assert_eq!(place.read("claims/00002.0").unwrap(), None);
            assert!(place.create("claims/00002.0", b"again").unwrap(), "after the folder has gone");
        }
    }

    #[test]
    fn one_who_joins_while_another_clears_up_is_no_error_to_either() {
        let folder = tempfile::tempdir().unwrap();
        thread::scope(|scope| {
            for worker in 0..6 {
                let cache = folder.path();
                scope.spawn(move || {
                    for _ in 0..200 {
                        let place = FolderClaims::open(cache, &worker.to_string()).unwrap();
                        place.create("claims/session.json", b"{}").unwrap();
                        place.clear().unwrap();
                    }
                });
            }
        });
    }

    #[test]
    fn of_many_who_try_one_makes_it() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..20 {
            let name = format!("claims/{round:05}.0");
            let made: usize = thread::scope(|scope| {
                let tries: Vec<_> = (0..8)
                    .map(|worker| {
                        let (folder, name) = (folder.path(), &name);
                        scope.spawn(move || {
                            let place = FolderClaims::open(folder, &worker.to_string()).unwrap();
                            usize::from(place.create(name, worker.to_string().as_bytes()).unwrap())
                        })
                    })
                    .collect();
                tries.into_iter().map(|tried| tried.join().unwrap()).sum()
            });
            assert_eq!(made, 1);
        }
        assert_eq!(fs::read_dir(folder.path().join(CLAIMS_FOLDER)).unwrap().count(), 20, "and nothing else stays");
    }
}
