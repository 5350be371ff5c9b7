//! A local folder of bounded size for files that can be fetched again. Any number of processes may share it.
//!
//! A reader holds a shared lock on a file while it is mapped, so that it is not evicted. A file being fetched has a name
//! that ends in `.partial` and is locked by the process that fetches it; others wait. One process at a time evicts, under
//! the lock of the whole folder. The operating system releases the locks of a process that ends.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
#[cfg(unix)]
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::error::{Result, StoreError};
use crate::fs::folder::Located;
use crate::fs::machine::machine;
use crate::fs::staged::create_folders;

/// The lock for eviction. Holds an upper bound on the bytes in use.
const LOCK: &str = ".lock";

/// How often a waiter checks whether a file has arrived.
const PAUSE: Duration = Duration::from_millis(5);

/// Eviction frees one part in this many beyond the request, so that the next file needs no scan.
const SPARE: u64 = 16;

/// A bounded folder of files that can be fetched again.
#[derive(Clone, Debug)]
pub(crate) struct FileCache {
    folder: PathBuf,
    limit: u64,
}

impl FileCache {
    /// Opens or creates the file cache in `folder`, of at most `limit` bytes.
    pub(crate) fn open(folder: PathBuf, limit: u64) -> Result<Self> {
        create_folders(machine().as_ref(), &folder)?;
        Ok(Self { folder, limit })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the file at `path`, of `bytes` bytes. If it is missing, one thread of one process fills it with `bring`, and
    /// others wait.
    pub(crate) fn get(
        &self,
        path: &Path,
        bytes: u64,
        bring: impl Fn(&Path, &mut File) -> Result<()>,
    ) -> Result<Located> {
        let name = path.file_name().unwrap_or_default();
        let partial = path.with_file_name(
            [OsString::from("."), name.to_owned(), ".partial".into()].into_iter().collect::<OsString>(),
        );
        if let Some(parent) = path.parent() {
            create_folders(machine().as_ref(), parent)?;
        }
        loop {
            if let Some(found) = Self::find(path, bytes)? {
                return Ok(found);
            }
            let failed = |action| {
                let path = partial.clone();
                move |source| StoreError::io(&path, action, source)
            };
            let opened = File::options().read(true).write(true).create(true).truncate(false).open(&partial);
            let mut file = opened.map_err(failed("create"))?;
            match file.try_lock() {
                Ok(()) => {}
                // Another caller fetches it. Blocking on the lock could take arbitrarily long: after the rename, readers
                // hold that lock.
                Err(TryLockError::WouldBlock) => {
                    thread::sleep(PAUSE);
                    continue;
                }
                Err(TryLockError::Error(source)) => return Err(failed("lock")(source)),
            }
            // Since the open, another process may have fetched, renamed and even evicted the file.
            if !is_at(&file, &partial) {
                continue;
            }
            if path.exists() {
                fs::remove_file(&partial).map_err(failed("remove"))?;
                continue;
            }
            file.set_len(0).map_err(failed("empty"))?;
            let brought = self.make_room(&partial, &file, bytes).and_then(|()| bring(&partial, &mut file));
            let named = brought.and_then(|()| fs::rename(&partial, path).map_err(failed("give its name to")));
            if let Err(error) = named {
                // The first error is the one to return; a leftover file can be evicted.
                let _ = fs::remove_file(&partial);
                return Err(error);
            }
        }
    }

    /// Opens an existing file, locks it against eviction and marks it as used.
    fn find(path: &Path, bytes: u64) -> Result<Option<Located>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::io(path, "open", source)),
        };
        file.lock_shared().map_err(|source| StoreError::io(path, "lock", source))?;
        if !is_at(&file, path) {
            return Ok(None);
        }
        if file.metadata().map_err(|source| StoreError::io(path, "read the size of", source))?.len() != bytes {
            // Changed by another program; it is fetched again.
            fs::remove_file(path).map_err(|source| StoreError::io(path, "remove", source))?;
            return Ok(None);
        }
        // A read-only folder loses the time of last use but still works.
        let _ = File::options().write(true).open(path).and_then(|file| file.set_modified(SystemTime::now()));
        Ok(Some(Located { path: path.to_owned(), keep: Some(file) }))
    }

    /// Reserves `bytes` for `file` at `partial`, and evicts the least recently used files if needed.
    fn make_room(&self, partial: &Path, file: &File, bytes: u64) -> Result<()> {
        let path = self.folder.join(LOCK);
        let failed = |action| {
            let path = path.clone();
            move |source| StoreError::io(&path, action, source)
        };
        let opened = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut lock = opened.map_err(failed("create"))?;
        lock.lock().map_err(failed("lock"))?;
        let mut words = String::new();
        let noted = (&lock).take(32).read_to_string(&mut words).ok().and_then(|_| words.trim().parse::<u64>().ok());
        let total = match noted {
            Some(noted) if noted.saturating_add(bytes) <= self.limit => noted,
            // A scan of all files is slow, and needed only when space runs short.
            _ => self.remove_oldest(partial, bytes),
        };
        let wanted = total.saturating_add(bytes);
        if wanted > self.limit {
            let what = format!("{}: limit for what is read from remote caches", self.folder.display());
            let expected =
                format!("at least {wanted} bytes, for a file of {bytes} besides {total} in use (--cache-limit)");
            return Err(StoreError::invalid(what, expected, self.limit));
        }
        // Recorded before the space is taken; evictions are recorded afterwards. So the recorded total is never too low.
        lock.seek(SeekFrom::Start(0)).and_then(|_| lock.set_len(0)).map_err(failed("write"))?;
        lock.write_all(wanted.to_string().as_bytes()).map_err(failed("write"))?;
        file.set_len(bytes).map_err(|source| StoreError::io(partial, "make room for", source))
    }

    /// Evicts files until `bytes` more fit with some to spare, or nothing more can go. Returns the bytes still in use.
    fn remove_oldest(&self, partial: &Path, bytes: u64) -> u64 {
        let mut files = Vec::new();
        list(&self.folder, &mut files);
        files.retain(|file| file.path != partial);
        let mut total: u64 = files.iter().map(|file| file.bytes).sum();
        if total.saturating_add(bytes) <= self.limit {
            return total;
        }
        files.sort_by_key(|file| (!file.unfinished, file.used));
        for old in files {
            if total.saturating_add(bytes) <= self.limit - self.limit / SPARE {
                break;
            }
            if old.remove() {
                total -= old.bytes;
            }
        }
        total
    }
}

struct Held {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
    unfinished: bool,
}

impl Held {
    /// Removes the file unless it is being read or fetched.
    fn remove(&self) -> bool {
        let Ok(file) = File::open(&self.path) else { return false };
        match file.try_lock() {
            Ok(()) => fs::remove_file(&self.path).is_ok(),
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
        }
    }
}

/// Collects the files that count towards the limit: the shards and plans of all caches in it.
fn list(folder: &Path, into: &mut Vec<Held>) {
    let caches = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut open: Vec<PathBuf> =
        caches.flat_map(|cache| ["plan", "shards"].map(|folder| cache.path().join(folder))).collect();
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            // Files removed during the scan do not count.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                open.push(entry.path());
            } else if metadata.is_file() {
                let unfinished = entry.file_name().to_string_lossy().ends_with(".partial");
                let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                into.push(Held { path: entry.path(), bytes: metadata.len(), used, unfinished });
            }
        }
    }
}

/// Whether `path` still refers to `file`.
#[cfg(not(unix))]
fn is_at(_file: &File, path: &Path) -> bool {
    // An open file cannot be removed or renamed on this platform.
    path.exists()
}

/// Whether `path` still refers to `file`.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    let same = |(left, right): (fs::Metadata, fs::Metadata)| (left.dev(), left.ino()) == (right.dev(), right.ino());
    file.metadata().ok().zip(fs::metadata(path).ok()).is_some_and(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_cache(folder: &Path, limit: u64) -> FileCache {
        FileCache::open(folder.to_owned(), limit).unwrap()
    }

    fn get(files: &FileCache, name: &str, bytes: usize) -> Result<Located> {
        let path = files.folder().join("cache/shards/00000").join(name);
        files.get(&path, bytes as u64, |_, file| {
            file.write_all(&vec![b'a'; bytes]).unwrap();
            Ok(())
        })
    }

    fn total(folder: &Path) -> u64 {
        let mut files = Vec::new();
        list(folder, &mut files);
        files.iter().map(|file| file.bytes).sum()
    }

    fn set_used(located: &Located, second: u64) {
        let used = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        File::options().write(true).open(&located.path).unwrap().set_modified(used).unwrap();
    }

    #[test]
    fn the_limit_holds_and_the_least_recently_used_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let files = file_cache(folder.path(), 1000);
        for (second, name) in ["a", "b", "c"].into_iter().enumerate() {
            set_used(&get(&files, name, 300).unwrap(), second as u64);
        }
        // `a` is used again, so it is no longer the oldest.
        let path = get(&files, "a", 300).unwrap().path;
        get(&files, "d", 300).unwrap();
        assert_eq!(total(folder.path()), 900);
        assert!(path.exists() && !path.with_file_name("b").exists() && path.with_file_name("c").exists());
        let error = get(&files, "e", 1001).unwrap_err().to_string();
        assert!(error.contains("--cache-limit"), "{error}");
        assert!(total(folder.path()) <= 1000);
    }

    #[test]
    fn what_is_in_use_stays_and_what_does_not_fit_beside_it_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let files = file_cache(folder.path(), 1000);
        let kept = get(&files, "a", 600).unwrap();
        let error = get(&files, "b", 600).unwrap_err().to_string();
        assert!(error.contains("at least 1200 bytes") && kept.path.exists(), "{error}");
        drop(kept);
        get(&files, "b", 600).unwrap();
        assert_eq!(total(folder.path()), 600);
    }

    #[test]
    fn a_file_of_another_size_or_one_left_unfinished_is_brought_again() {
        let folder = tempfile::tempdir().unwrap();
        let files = file_cache(folder.path(), 1000);
        let path = get(&files, "a", 300).unwrap().path;
        fs::write(&path, "short").unwrap();
        fs::write(path.with_file_name(".b.partial"), vec![0; 800]).unwrap();
        fs::remove_file(folder.path().join(LOCK)).unwrap();
        get(&files, "a", 300).unwrap();
        assert_eq!(fs::read(&path).unwrap(), vec![b'a'; 300]);
        get(&files, "b", 400).unwrap();
        assert_eq!(fs::read(path.with_file_name("b")).unwrap(), vec![b'a'; 400]);
        assert!(total(folder.path()) <= 1000);
    }

    #[test]
    fn a_file_is_brought_once_however_many_ask_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let files = file_cache(folder.path(), 1000);
        let brought = std::sync::atomic::AtomicUsize::new(0);
        let path = files.folder().join("cache/shards/00000/a");
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let got = files.get(&path, 5, |_, file| {
                        brought.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        file.write_all(b"hello").unwrap();
                        Ok(())
                    });
                    assert_eq!(fs::read(got.unwrap().path).unwrap(), b"hello");
                });
            }
        });
        assert_eq!(brought.into_inner(), 1);
    }
}
