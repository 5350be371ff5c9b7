//! A file system with a watcher that sees every operation before it is done and may refuse it. The tests' failing disks
//! are built on it. Not in a release build.

use std::fmt::Debug;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fs::disk::{Disk, DiskFile, FileSystem};

/// An operation about to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation<'a> {
    Create(&'a Path),
    Write(&'a Path, &'a [u8]),
    Sync(&'a Path),
    CreateFolder(&'a Path),
    /// From, to.
    Rename(&'a Path, &'a Path),
    /// The file, its new name.
    Link(&'a Path, &'a Path),
    RemoveFile(&'a Path),
    RemoveFolder(&'a Path),
    SyncFolder(&'a Path),
}

impl Operation<'_> {
    /// Whether it takes space on the disk.
    pub(crate) fn takes_space(self) -> bool {
        matches!(self, Self::Create(_) | Self::Write(..) | Self::CreateFolder(_) | Self::Rename(..) | Self::Link(..))
    }

    /// Whether it waits for the disk.
    pub(crate) fn syncs(self) -> bool {
        matches!(self, Self::Sync(_) | Self::SyncFolder(_))
    }
}

/// Sees every operation before it is done.
pub(crate) trait Watcher: Debug + Send + Sync {
    /// An error prevents the operation and becomes its result.
    fn before(&self, operation: Operation<'_>) -> io::Result<()>;
}

/// The file system with a watcher.
#[derive(Debug)]
pub(crate) struct WatchedDisk<W> {
    watcher: Arc<W>,
}

impl<W> WatchedDisk<W> {
    pub(crate) fn new(watcher: W) -> Self {
        Self { watcher: Arc::new(watcher) }
    }

    pub(crate) fn watcher(&self) -> &W {
        &self.watcher
    }
}

/// Shares the watcher.
impl<W> Clone for WatchedDisk<W> {
    fn clone(&self) -> Self {
        Self { watcher: Arc::clone(&self.watcher) }
    }
}

struct WatchedFile<W> {
    inner: Box<dyn DiskFile>,
    path: PathBuf,
    watcher: Arc<W>,
}

impl<W: Watcher> Write for WatchedFile<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.watcher.before(Operation::Write(&self.path, bytes))?;
        self.inner.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W: Watcher> DiskFile for WatchedFile<W> {
    fn sync(&mut self) -> io::Result<()> {
        self.watcher.before(Operation::Sync(&self.path))?;
        self.inner.sync()
    }
}

impl<W: Watcher + 'static> Disk for WatchedDisk<W> {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.watcher.before(Operation::Create(path))?;
        let inner = FileSystem.create(path)?;
        Ok(Box::new(WatchedFile { inner, path: path.to_owned(), watcher: Arc::clone(&self.watcher) }))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.watcher.before(Operation::CreateFolder(path))?;
        FileSystem.create_folder(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.watcher.before(Operation::Rename(from, to))?;
        FileSystem.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.watcher.before(Operation::Link(from, to))?;
        FileSystem.link(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.watcher.before(Operation::RemoveFile(path))?;
        FileSystem.remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.watcher.before(Operation::RemoveFolder(path))?;
        FileSystem.remove_folder(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.watcher.before(Operation::SyncFolder(path))?;
        FileSystem.sync_folder(path)
    }
}
