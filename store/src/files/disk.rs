//! The writes that reach the disk, behind a trait so that tests can make any one of them fail.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// A file being written.
pub(crate) trait DiskFile: Write + Send {
    /// Returns once every byte written so far is on the disk.
    fn sync(&mut self) -> io::Result<()>;
}

/// The operations by which a cache comes to be. Reading does not go through here.
pub(crate) trait Disk: Debug + Send + Sync {
    /// Creates a file that must not be there yet.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Renames a file over another, or a folder to a name that is free.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name, which must be free.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Returns once the folder's entries are on the disk.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
}

/// The file system of the machine.
#[derive(Debug)]
pub(crate) struct FileSystem;

impl DiskFile for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

impl Disk for FileSystem {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::create_new(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

#[cfg(test)]
pub(crate) mod failing {
    //! A disk that is full after a number of bytes, or breaks at a numbered operation.

    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    /// Passes on to the file system until its budget is spent; each operation costs one, each byte written one more.
    #[derive(Clone, Debug)]
    pub(crate) struct FailingDisk {
        budget: Arc<AtomicI64>,
        bytes_cost: i64,
    }

    impl FailingDisk {
        /// Full after `bytes` bytes and operations.
        pub(crate) fn full_after(bytes: i64) -> Self {
            Self { budget: Arc::new(AtomicI64::new(bytes)), bytes_cost: 1 }
        }

        /// Breaks at operation number `operations`, however much each writes.
        pub(crate) fn breaks_at(operations: i64) -> Self {
            Self { budget: Arc::new(AtomicI64::new(operations)), bytes_cost: 0 }
        }

        fn spend(&self, bytes: usize) -> io::Result<()> {
            let cost = 1 + self.bytes_cost * bytes as i64;
            if self.budget.fetch_sub(cost, Ordering::Relaxed) < cost {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(())
        }
    }

    struct FailingFile {
        inner: Box<dyn DiskFile>,
        disk: FailingDisk,
    }

    impl Write for FailingFile {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.disk.spend(bytes.len())?;
            self.inner.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.inner.flush()
        }
    }

    impl DiskFile for FailingFile {
        fn sync(&mut self) -> io::Result<()> {
            self.disk.spend(0)?;
            self.inner.sync()
        }
    }

    impl Disk for FailingDisk {
        fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
            self.spend(0)?;
            Ok(Box::new(FailingFile { inner: FileSystem.create(path)?, disk: self.clone() }))
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.spend(0)?;
            FileSystem.rename(from, to)
        }

        fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.spend(0)?;
            FileSystem.link(from, to)
        }

        fn sync_folder(&self, path: &Path) -> io::Result<()> {
            self.spend(0)?;
            FileSystem.sync_folder(path)
        }
    }
}
