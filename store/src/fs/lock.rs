//! A lock that admits one writer at a time.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::error::{Result, StoreError};

const FILE_NAME: &str = ".lock";

/// Asking for the current holder takes the lock for a moment, so a writer retries.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// The lock of a cache folder, held until dropped. The operating system releases it when the process ends, so a killed
/// writer never blocks others.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock of `folder`, which must exist.
    ///
    /// # Errors
    /// [`StoreError::Locked`] with the other writer's process and host.
    pub(crate) fn take(folder: &Path) -> Result<Self> {
        let mut lock = Self::acquire(folder, File::try_lock)?;
        let words = format!("process {} on {}\n", std::process::id(), host_name());
        let written = lock.file.set_len(0).and_then(|()| lock.file.write_all(words.as_bytes()));
        written.map_err(|source| StoreError::io(&folder.join(FILE_NAME), "write the lock file", source))?;
        Ok(lock)
    }

    /// Takes a shared lock of `folder`, which must exist.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process holds it exclusively.
    pub(crate) fn take_shared(folder: &Path) -> Result<Self> {
        Self::acquire(folder, File::try_lock_shared)
    }

    fn acquire(folder: &Path, try_lock: impl Fn(&File) -> Result<(), TryLockError>) -> Result<Self> {
        let path = folder.join(FILE_NAME);
        let failed = |action, source| StoreError::io(&path, action, source);
        let opened = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = opened.map_err(|source| failed("open the lock file", source))?;
        let mut locked = try_lock(&file);
        for _ in 1..ATTEMPTS {
            if !matches!(locked, Err(TryLockError::WouldBlock)) {
                break;
            }
            thread::sleep(PAUSE);
            locked = try_lock(&file);
        }
        match locked {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => {
                Err(StoreError::Locked { folder: folder.to_owned(), holder: holder(&mut file) })
            }
            Err(TryLockError::Error(source)) => Err(failed("lock", source)),
        }
    }

    /// The process that is currently writing to `folder`, if any.
    pub(crate) fn current_holder(folder: &Path) -> Option<String> {
        let mut file = File::open(folder.join(FILE_NAME)).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(holder(&mut file)),
            _ => None,
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The contents matter only while the file is locked. Emptying it avoids naming a dead process. A shared holder
        // has written nothing, so this changes nothing then.
        let _ = self.file.set_len(0);
    }
}

fn holder(file: &mut File) -> String {
    let mut words = String::new();
    // The writer may not have written its name yet, or another file system may hide it.
    let read: io::Result<usize> = file.take(256).read_to_string(&mut words);
    match (read, words.trim()) {
        (Ok(_), words) if !words.is_empty() => words.to_owned(),
        _ => "another process".to_owned(),
    }
}

/// The host name, for messages.
pub(crate) fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| fs::read_to_string("/etc/hostname"));
    name.map_or_else(|_| "this host".to_owned(), |name| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_writer_is_told_who_the_first_is() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Lock::current_holder(folder.path()).is_none());
        let lock = Lock::take(folder.path()).unwrap();
        let words = format!("process {}", std::process::id());
        assert!(Lock::current_holder(folder.path()).unwrap().starts_with(&words));
        let error = Lock::take(folder.path()).unwrap_err();
        assert!(matches!(&error, StoreError::Locked { holder, .. } if holder.starts_with(&words)), "{error}");
        drop(lock);
        assert!(Lock::current_holder(folder.path()).is_none());
        Lock::take(folder.path()).unwrap();
    }
}
