//! The output folder of an export, created atomically.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Result, StoreError};
use crate::format::records::FileRecord;
use crate::fs::disk::Disk;
use crate::fs::hash::HashingFile;
use crate::fs::lock::Lock;
use crate::fs::machine::machine;
use crate::fs::staged::{StagedFolder, create_folders, partial, remove_entry, write_file};

/// A folder that is filled under a temporary name and renamed into place at the end.
#[derive(Debug)]
pub(super) struct Destination {
    disk: Arc<dyn Disk>,
    staged: StagedFolder,
    lock: Lock,
}

impl Destination {
    /// Starts filling `folder`.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if the path exists, [`StoreError::Locked`] if another process is filling it.
    pub(super) fn create(folder: &Path) -> Result<Self> {
        Self::create_on(machine(), folder)
    }

    fn create_on(disk: Arc<dyn Disk>, folder: &Path) -> Result<Self> {
        // An absolute path has a parent to fsync, even if `folder` is a bare name.
        let path = std::path::absolute(folder).map_err(|source| StoreError::io(folder, "find", source))?;
        if fs::symlink_metadata(&path).is_ok() {
            return Err(StoreError::Exists { path: folder.to_owned() });
        }
        create_folders(disk.as_ref(), path.parent().unwrap_or(Path::new("/")))?;
        let temporary = partial(&path);
        if temporary.is_dir() {
            // Left by a killed export, unless another process holds its lock.
            drop(Lock::take(&temporary)?);
            remove_entry(disk.as_ref(), &temporary)?;
        }
        let staged = StagedFolder::create(Arc::clone(&disk), path)?;
        let lock = Lock::take(&temporary)?;
        Ok(Self { disk, staged, lock })
    }

    /// Creates a file in the folder.
    pub(super) fn create_file(&self, name: &str) -> Result<(PathBuf, HashingFile)> {
        let path = self.staged.file(name);
        let file = HashingFile::create(self.disk.as_ref(), &path)?;
        Ok((path, file))
    }

    /// Writes a small file into the folder.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        write_file(self.disk.as_ref(), &self.staged.file(name), bytes)
    }

    /// The temporary path of a file in the folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.staged.file(name)
    }

    /// Renames the folder into place.
    pub(super) fn commit(self) -> Result<()> {
        let Self { disk, staged, lock } = self;
        let path = staged.file(".lock");
        drop(lock);
        remove_entry(disk.as_ref(), &path)?;
        staged.commit()
    }
}

/// The total size of the files, in bytes.
pub(super) fn total_bytes(files: &[FileRecord]) -> u64 {
    files.iter().map(|file| file.bytes).sum()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::fs::failing::FailingDisk;

    fn fill(disk: Arc<dyn Disk>, folder: &Path) -> Result<()> {
        let destination = Destination::create_on(disk, folder)?;
        let (path, mut file) = destination.create_file("a")?;
        file.write_all(b"hay").map_err(|source| StoreError::io(&path, "write", source))?;
        file.finish(&path, "a")?;
        destination.write("b", b"loft")?;
        destination.commit()
    }

    #[test]
    fn a_disk_that_breaks_at_any_operation_leaves_the_whole_folder_or_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("deep/out");
        for operation in 0.. {
            let filled = fill(Arc::new(FailingDisk::breaks_at(operation)), &folder);
            let names = |path: &Path| {
                let mut names: Vec<_> = fs::read_dir(path)
                    .into_iter()
                    .flatten()
                    .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                    .collect();
                names.sort();
                names
            };
            let whole = names(&folder.with_file_name("")) == ["out"] && names(&folder) == ["a", "b"];
            assert!(whole || names(&folder.with_file_name("")).is_empty(), "operation {operation}");
            if filled.is_ok() {
                assert!(whole && operation >= 8, "{operation}");
                break;
            }
            // Only the last step, the fsync of the parent, comes after the rename.
            if whole {
                fs::remove_dir_all(&folder).unwrap();
            }
        }
    }

    #[test]
    fn what_a_killed_export_left_is_removed_and_what_a_running_one_fills_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("out");
        let leftover = parent.path().join(".out.partial");
        fs::create_dir(&leftover).unwrap();
        fs::write(leftover.join("old"), "").unwrap();
        let running = Destination::create(&folder).unwrap();
        assert!(!leftover.join("old").exists());
        assert!(matches!(Destination::create(&folder).unwrap_err(), StoreError::Locked { .. }));
        running.commit().unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        assert!(matches!(Destination::create(&folder).unwrap_err(), StoreError::Exists { .. }));
    }
}
