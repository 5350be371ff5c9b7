//! The operations that change the disk, behind a trait so that tests can make any of them fail.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// A file being written.
pub(crate) trait DiskFile: Write + Send {
    /// Returns once all written bytes are on the disk.
    fn sync(&mut self) -> io::Result<()>;
}

/// The operations that write a cache. Everything this crate writes goes through here, except the lock file, whose
/// contents mean nothing once its holder is gone. Reads do not go through here.
pub(crate) trait Disk: Debug + Send + Sync {
    /// Creates a file. The path must not exist.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Creates a folder. The path must not exist; its parent must.
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    /// Renames a file over another, or a folder to a free name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Creates a hard link. The new name must be free.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file or a link.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder and its contents, in no particular order, without following links.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
    /// Returns once the folder's entries are on the disk.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
}

/// The machine's file system.
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

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}
