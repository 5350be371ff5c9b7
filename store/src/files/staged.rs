//! What is written whole or not at all: files replaced in one step, folders written once.
//!
//! Whatever is unfinished has a name that starts with `.` and ends in `.partial`; nothing else does. The next writer
//! removes what a killed one left under such names.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Result, StoreError};
use crate::files::disk::Disk;

/// The unfinished sibling of `path`.
pub(crate) fn partial(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.partial"))
}

/// Puts `bytes` in the place of the file at `path`, in one step: whoever opens it finds the old bytes or the new ones.
pub(crate) fn replace_file(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = partial(path);
    remove_entry(&temporary)?;
    let written = write_file(disk, &temporary, bytes)
        .and_then(|()| disk.rename(&temporary, path).map_err(|source| StoreError::io(path, "replace", source)));
    if let Err(error) = written {
        // The first error is the one to tell; the leftover, if any, goes with the next writer.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    sync_parent(disk, path)
}

/// Writes a new file and waits until it is on the disk.
pub(crate) fn write_file(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = disk.create(path).map_err(|source| StoreError::io(path, "create", source))?;
    file.write_all(bytes).map_err(|source| StoreError::io(path, "write", source))?;
    file.sync().map_err(|source| StoreError::io(path, "write to the disk", source))
}

fn sync_parent(disk: &dyn Disk, path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    disk.sync_folder(parent).map_err(|source| StoreError::io(parent, "write to the disk", source))
}

/// A folder that is filled under a temporary name and takes its own in one step. Dropped before that, it is removed.
#[derive(Debug)]
pub(crate) struct StagedFolder {
    disk: Arc<dyn Disk>,
    temporary: PathBuf,
    destination: PathBuf,
    committed: bool,
}

impl StagedFolder {
    /// Starts filling what will be `destination`. Its parent must be there, and nobody else be filling it.
    pub(crate) fn create(disk: Arc<dyn Disk>, destination: PathBuf) -> Result<Self> {
        let temporary = partial(&destination);
        fs::create_dir(&temporary).map_err(|source| StoreError::io(&temporary, "create", source))?;
        Ok(Self { disk, temporary, destination, committed: false })
    }

    /// The path of a file in the folder while it is being filled.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.temporary.join(name)
    }

    /// Gives the folder its own name. Its files must already be on the disk. What stood under that name is removed: it
    /// has been found not to be whole.
    pub(crate) fn commit(mut self) -> Result<()> {
        let synced = self.disk.sync_folder(&self.temporary);
        synced.map_err(|source| StoreError::io(&self.temporary, "write to the disk", source))?;
        remove_entry(&self.destination)?;
        self.disk
            .rename(&self.temporary, &self.destination)
            .map_err(|source| StoreError::io(&self.destination, "give the finished folder its name", source))?;
        self.committed = true;
        sync_parent(self.disk.as_ref(), &self.destination)
    }
}

impl Drop for StagedFolder {
    fn drop(&mut self) {
        if !self.committed {
            // Nobody is left to tell; the next writer removes it by its name.
            let _ = fs::remove_dir_all(&self.temporary);
        }
    }
}

/// Removes what killed writers left unfinished in `folder`. No such folder is as good as an empty one.
pub(crate) fn remove_leftovers(folder: &Path) -> Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|source| StoreError::io(folder, "list", source))?,
    };
    for entry in entries {
        let entry = entry.map_err(|source| StoreError::io(folder, "list", source))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && name.ends_with(".partial") {
            remove_entry(&entry.path())?;
        }
    }
    Ok(())
}

/// Creates a folder and those above it, unless they are there.
pub(crate) fn create_folders(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|source| StoreError::io(path, "create", source))
}

/// Removes a file, a link or a whole folder, if it is there. A link's target is left alone.
pub(crate) fn remove_entry(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(source),
    };
    removed.map_err(|source| StoreError::io(path, "remove", source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::disk::FileSystem;
    use crate::files::disk::failing::FailingDisk;

    #[test]
    fn a_replacement_that_fails_at_any_point_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("manifest.json");
        replace_file(&FileSystem, &path, b"old").unwrap();
        // Create, write, sync and rename come before the new bytes are seen.
        for operation in 0..4 {
            let error = replace_file(&FailingDisk::breaks_at(operation), &path, b"new").unwrap_err();
            assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
            assert_eq!(fs::read(&path).unwrap(), b"old");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
        replace_file(&FileSystem, &path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_staged_folder_appears_whole_or_not_at_all() {
        let parent = tempfile::tempdir().unwrap();
        let destination = parent.path().join("00000");
        let staged = StagedFolder::create(Arc::new(FileSystem), destination.clone()).unwrap();
        write_file(&FileSystem, &staged.file("a"), b"a").unwrap();
        drop(staged);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);

        let staged = StagedFolder::create(Arc::new(FileSystem), destination.clone()).unwrap();
        write_file(&FileSystem, &staged.file("a"), b"a").unwrap();
        staged.commit().unwrap();
        assert_eq!(fs::read(destination.join("a")).unwrap(), b"a");
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    }

    #[test]
    fn leftovers_are_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".00001.partial", "00000"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join(".manifest.json.partial"), "").unwrap();
        fs::write(folder.path().join(".lock"), "").unwrap();
        remove_leftovers(folder.path()).unwrap();
        let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".lock", "00000"]);
        remove_leftovers(&folder.path().join("absent")).unwrap();
    }
}
