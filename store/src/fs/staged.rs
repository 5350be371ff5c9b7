//! Atomic writes: files replaced in one step, and folders written once.
//!
//! The name of anything unfinished starts with `.` and ends in `.partial`; no other name does. The next writer removes
//! such leftovers of a killed process.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Result, StoreError};
use crate::fs::disk::Disk;

/// The temporary sibling of `path`.
pub(crate) fn partial(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.partial"))
}

/// The temporary sibling of `path` for one worker, where several may be filling it.
pub(crate) fn partial_of(worker: &str, path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{worker}.partial"))
}

/// Replaces the file at `path` atomically: readers see the old bytes or the new ones.
pub(crate) fn replace_file(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<()> {
    replace_file_by(disk, &partial(path), path, bytes)
}

/// Like `replace_file`, with a given temporary file, where other processes may be replacing `path` too.
pub(crate) fn replace_file_by(disk: &dyn Disk, temporary: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
    remove_entry(disk, temporary)?;
    let written = write_file(disk, temporary, bytes)
        .and_then(|()| disk.rename(temporary, path).map_err(|source| StoreError::io(path, "replace", source)));
    if let Err(error) = written {
        // Report the first error. The next writer removes the leftover, if any.
        let _ = disk.remove_file(temporary);
        return Err(error);
    }
    sync_parent(disk, path)
}

/// Writes and syncs a new file.
pub(crate) fn write_file(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = disk.create(path).map_err(|source| StoreError::io(path, "create", source))?;
    file.write_all(bytes).map_err(|source| StoreError::io(path, "write", source))?;
    file.sync().map_err(|source| StoreError::io(path, "write to the disk", source))
}

fn sync_parent(disk: &dyn Disk, path: &Path) -> Result<()> {
    // The parent of a bare name is empty.
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    disk.sync_folder(parent).map_err(|source| StoreError::io(parent, "write to the disk", source))
}

/// A folder that is filled under a temporary name and renamed into place. It is removed if dropped before.
#[derive(Debug)]
pub(crate) struct StagedFolder {
    disk: Arc<dyn Disk>,
    temporary: PathBuf,
    destination: PathBuf,
    committed: bool,
}

impl StagedFolder {
    /// Starts filling `destination`. Its parent must exist, and no other process may be filling it.
    pub(crate) fn create(disk: Arc<dyn Disk>, destination: PathBuf) -> Result<Self> {
        let temporary = partial(&destination);
        Self::create_at(disk, temporary, destination)
    }

    /// Like `create`, with a given temporary name, where other processes may be filling it too.
    pub(crate) fn create_at(disk: Arc<dyn Disk>, temporary: PathBuf, destination: PathBuf) -> Result<Self> {
        disk.create_folder(&temporary).map_err(|source| StoreError::io(&temporary, "create", source))?;
        Ok(Self { disk, temporary, destination, committed: false })
    }

    /// Removes the leftover of a killed attempt to fill `destination`.
    pub(crate) fn remove_leftover(disk: &dyn Disk, destination: &Path) -> Result<()> {
        remove_entry(disk, &partial(destination))
    }

    /// The temporary path of the folder.
    pub(crate) fn path(&self) -> &Path {
        &self.temporary
    }

    /// The temporary path of a file in the folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.temporary.join(name)
    }

    /// The final path.
    pub(crate) fn destination(&self) -> &Path {
        &self.destination
    }

    /// Renames the folder into place unless the name is taken. Returns whether it did. The folder's files must already
    /// be synced.
    pub(crate) fn commit_where_free(&mut self) -> Result<bool> {
        let synced = self.disk.sync_folder(&self.temporary);
        synced.map_err(|source| StoreError::io(&self.temporary, "write to the disk", source))?;
        match self.disk.rename(&self.temporary, &self.destination) {
            Ok(()) => {}
            Err(error) if is_taken(&error) => return Ok(false),
            Err(source) => {
                return Err(StoreError::io(&self.destination, "give the finished folder its name", source));
            }
        }
        self.committed = true;
        sync_parent(self.disk.as_ref(), &self.destination)?;
        Ok(true)
    }

    /// Renames the folder into place. Its files must already be synced. An existing folder of that name, which the
    /// caller has found incomplete, is removed.
    pub(crate) fn commit(mut self) -> Result<()> {
        let disk = Arc::clone(&self.disk);
        // Once renamed it stays, even if the sync of its parent fails.
        put_in_place(disk.as_ref(), &self.temporary, &self.destination, || self.committed = true)
    }
}

/// Syncs a filled folder and renames it into place, after removing an existing entry of that name. Calls `named` right
/// after the rename.
pub(crate) fn put_in_place(disk: &dyn Disk, temporary: &Path, destination: &Path, named: impl FnOnce()) -> Result<()> {
    let synced = disk.sync_folder(temporary);
    synced.map_err(|source| StoreError::io(temporary, "write to the disk", source))?;
    discard(disk, destination)?;
    disk.rename(temporary, destination)
        .map_err(|source| StoreError::io(destination, "give the finished folder its name", source))?;
    named();
    sync_parent(disk, destination)
}

/// Renames `path` to `aside`, which must be free. Returns `false` if `path` does not exist.
pub(crate) fn move_aside(disk: &dyn Disk, path: &Path, aside: &Path) -> Result<bool> {
    match disk.rename(path, aside) {
        Err(gone) if gone.kind() == ErrorKind::NotFound => Ok(false),
        moved => moved.map(|()| true).map_err(|source| StoreError::io(path, "move aside", source)),
    }
}

/// Renames a folder back to `path`, or removes it if that name is taken by now.
pub(crate) fn move_back(disk: &dyn Disk, aside: &Path, path: &Path) -> Result<()> {
    match disk.rename(aside, path) {
        Err(error) if is_taken(&error) => remove_entry(disk, aside),
        moved => moved.map_err(|source| StoreError::io(path, "move back", source)),
    }
}

/// Whether a rename of a folder failed because the name is taken. A rename never replaces a folder that is not empty.
fn is_taken(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty | ErrorKind::NotADirectory)
}

impl Drop for StagedFolder {
    fn drop(&mut self) {
        if !self.committed {
            // The error cannot be reported. The next writer removes the folder.
            let _ = self.disk.remove_folder(&self.temporary);
        }
    }
}

/// Removes the leftovers of killed writers in `folder`. The caller must hold its lock exclusively.
pub(crate) fn remove_leftovers(disk: &dyn Disk, folder: &Path) -> Result<()> {
    leftovers(folder)?.iter().try_for_each(|path| remove_entry(disk, path))
}

/// The unfinished entries of `folder`. A missing folder has none.
pub(crate) fn leftovers(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(source) if source.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|source| StoreError::io(folder, "list", source))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| StoreError::io(folder, "list", source))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && name.ends_with(".partial") {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Creates a folder and its missing parents. Their names are synced on return, since losing a folder loses its
/// contents.
pub(crate) fn create_folders(disk: &dyn Disk, path: &Path) -> Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_folders(disk, parent)?;
    }
    create_folder(disk, path)
}

/// Creates a folder in an existing one, unless it exists. Its name is synced on return, even if another process created
/// it and was killed.
pub(crate) fn create_folder(disk: &dyn Disk, path: &Path) -> Result<()> {
    match disk.create_folder(path) {
        Err(source) if source.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other.map_err(|source| StoreError::io(path, "create", source)),
    }?;
    sync_parent(disk, path)
}

/// Removes a file, a link or a whole folder, if it exists. It is renamed first, so that a partly removed folder never
/// has its own name.
pub(crate) fn discard(disk: &dyn Disk, path: &Path) -> Result<()> {
    if fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return Ok(());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = partial(&path.with_file_name(format!("{name}.old")));
    remove_entry(disk, &aside)?;
    disk.rename(path, &aside).map_err(|source| StoreError::io(path, "remove", source))?;
    // Sync, so that the name refers to the whole folder or none even after a power cut.
    sync_parent(disk, path)?;
    remove_entry(disk, &aside)
}

/// Removes a file, a link or a whole folder, if it exists. The target of a link stays.
pub(crate) fn remove_entry(disk: &dyn Disk, path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => disk.remove_folder(path),
        Ok(_) => disk.remove_file(path),
        Err(source) => Err(source),
    };
    match removed {
        // Another process removed it first.
        Err(source) if source.kind() == ErrorKind::NotFound => Ok(()),
        other => other.map_err(|source| StoreError::io(path, "remove", source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::disk::FileSystem;
    use crate::fs::failing::FailingDisk;

    #[test]
    fn a_replacement_that_fails_at_any_point_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("manifest.json");
        replace_file(&FileSystem, &path, b"old").unwrap();
        // Create, write, sync and rename come before the new bytes are visible.
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
        remove_leftovers(&FileSystem, folder.path()).unwrap();
        let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".lock", "00000"]);
        remove_leftovers(&FileSystem, &folder.path().join("absent")).unwrap();
    }

    #[test]
    fn what_is_discarded_has_no_name_while_it_goes() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("00000");
        // It is renamed and the rename synced before anything is removed.
        for breaks_at in 0..=2 {
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("a"), "a").unwrap();
            let discarded = discard(&FailingDisk::breaks_at(breaks_at), &folder);
            assert_eq!(discarded.is_ok(), breaks_at == 2);
            assert_eq!(folder.join("a").exists(), breaks_at == 0);
            assert_eq!(parent.path().join(".00000.old.partial/a").exists(), breaks_at == 1);
        }
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
        discard(&FileSystem, &folder).unwrap();
    }

    #[test]
    fn folders_are_created_with_those_above_them_and_may_be_there() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        create_folders(&FileSystem, &folder).unwrap();
        assert!(folder.is_dir());
        // An existing folder needs no operation.
        create_folders(&FailingDisk::breaks_at(0), &folder).unwrap();
        create_folder(&FileSystem, &folder).unwrap();
        fs::write(folder.join("file"), "").unwrap();
        assert!(create_folder(&FileSystem, &folder.join("file")).is_err());
        assert!(create_folders(&FileSystem, &folder.join("file/c")).is_err());
    }
}
