//! The operations that change what is on the disk, behind a trait so that tests can make any one of them fail.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// A file being written.
pub(crate) trait DiskFile: Write + Send {
    /// Returns once every byte written so far is on the disk.
    fn sync(&mut self) -> io::Result<()>;
}

/// The operations by which a cache comes to be: all that this crate does to a file system but for the lock's file, whose
/// bytes mean nothing once its holder is gone. Reading does not go through here.
pub(crate) trait Disk: Debug + Send + Sync {
    /// Creates a file that must not be there yet.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Creates a folder that must not be there yet, in one that is.
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    /// Renames a file over another, or a folder to a name that is free.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name, which must be free.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file or a link.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder and all that is in it, in no order, following no link.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
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
