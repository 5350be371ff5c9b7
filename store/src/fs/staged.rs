//! What is written whole or not at all: files replaced in one step, folders written once.
//!
//! Whatever is unfinished has a name that starts with `.` and ends in `.partial`; nothing else does. The next writer
//! removes what a killed one left under such names.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Result, StoreError};
use crate::fs::disk::Disk;

/// The unfinished sibling of `path`.
pub(crate) fn partial(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.partial"))
}

/// The unfinished sibling of `path` that is `worker`'s own, where several may be filling it.
pub(crate) fn partial_of(worker: &str, path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{worker}.partial"))
}

/// Puts `bytes` in the place of the file at `path`, in one step: whoever opens it finds the old bytes or the new ones.
pub(crate) fn replace_file(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<()> {
    replace_file_by(disk, &partial(path), path, bytes)
}

/// The same by way of a temporary file of one's own, where others may be replacing it too.
pub(crate) fn replace_file_by(disk: &dyn Disk, temporary: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
    remove_entry(disk, temporary)?;
    let written = write_file(disk, temporary, bytes)
        .and_then(|()| disk.rename(temporary, path).map_err(|source| StoreError::io(path, "replace", source)));
    if let Err(error) = written {
        // The first error is the one to tell; the leftover, if any, goes with the next writer.
        let _ = disk.remove_file(temporary);
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
    // That of a bare name is empty.
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
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
        Self::create_at(disk, temporary, destination)
    }

    /// The same under a temporary name of one's own, where others may be filling it too.
    pub(crate) fn create_at(disk: Arc<dyn Disk>, temporary: PathBuf, destination: PathBuf) -> Result<Self> {
        disk.create_folder(&temporary).map_err(|source| StoreError::io(&temporary, "create", source))?;
        Ok(Self { disk, temporary, destination, committed: false })
    }

    /// Removes what a killed attempt to fill `destination` left.
    pub(crate) fn remove_leftover(disk: &dyn Disk, destination: &Path) -> Result<()> {
        remove_entry(disk, &partial(destination))
    }

    /// The folder while it is being filled.
    pub(crate) fn path(&self) -> &Path {
        &self.temporary
    }

    /// The path of a file in the folder while it is being filled.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.temporary.join(name)
    }

    /// What it is to be called.
    pub(crate) fn destination(&self) -> &Path {
        &self.destination
    }

    /// Gives the folder its own name, in one step, unless something has it: whether it did. What is there stays. Its files must
    /// already be on the disk.
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

    /// Gives the folder its own name. Its files must already be on the disk. What stood under that name is removed: it
    /// has been found not to be whole.
    pub(crate) fn commit(mut self) -> Result<()> {
        let disk = Arc::clone(&self.disk);
        // Once it has its name, it stays, even where that name cannot be brought to the disk.
        put_in_place(disk.as_ref(), &self.temporary, &self.destination, || self.committed = true)
    }
}

/// Brings a filled folder to the disk and gives it its name. What stood under that name is removed. `named` is called as
/// soon as the folder has it.
pub(crate) fn put_in_place(disk: &dyn Disk, temporary: &Path, destination: &Path, named: impl FnOnce()) -> Result<()> {
    let synced = disk.sync_folder(temporary);
    synced.map_err(|source| StoreError::io(temporary, "write to the disk", source))?;
    discard(disk, destination)?;
    disk.rename(temporary, destination)
        .map_err(|source| StoreError::io(destination, "give the finished folder its name", source))?;
    named();
    sync_parent(disk, destination)
}

/// Takes the name from what has it by renaming it to `aside`, for which nothing may have that name. `false` where nothing has it.
pub(crate) fn move_aside(disk: &dyn Disk, path: &Path, aside: &Path) -> Result<bool> {
    match disk.rename(path, aside) {
        Err(gone) if gone.kind() == ErrorKind::NotFound => Ok(false),
        moved => moved.map(|()| true).map_err(|source| StoreError::io(path, "move aside", source)),
    }
}

/// Gives a folder that was moved aside its name back, unless something has it by now: then the folder is removed.
pub(crate) fn move_back(disk: &dyn Disk, aside: &Path, path: &Path) -> Result<()> {
    match disk.rename(aside, path) {
        Err(error) if is_taken(&error) => remove_entry(disk, aside),
        moved => moved.map_err(|source| StoreError::io(path, "move back", source)),
    }
}

/// Whether a folder could not be given a name since something has it. A folder that has anything in it is never replaced by renaming
/// another.
fn is_taken(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty | ErrorKind::NotADirectory)
}

impl Drop for StagedFolder {
    fn drop(&mut self) {
        if !self.committed {
            // Nobody is left to tell; the next writer removes it by its name.
            let _ = self.disk.remove_folder(&self.temporary);
        }
    }
}

/// Removes what killed writers left unfinished in `folder`. Its lock must be held alone.
pub(crate) fn remove_leftovers(disk: &dyn Disk, folder: &Path) -> Result<()> {
    leftovers(folder)?.iter().try_for_each(|path| remove_entry(disk, path))
}

/// What is unfinished in `folder`. No such folder is as good as an empty one.
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

/// Creates a folder and those above it, unless they are there. The names of those that it creates are on the disk when it
/// returns: what is put into a folder that is lost is lost with it.
pub(crate) fn create_folders(disk: &dyn Disk, path: &Path) -> Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_folders(disk, parent)?;
    }
    create_folder(disk, path)
}

/// Creates a folder in one that is there, unless it is there too. Its name is on the disk when this returns, even if
/// somebody else created it and was killed.
pub(crate) fn create_folder(disk: &dyn Disk, path: &Path) -> Result<()> {
    match disk.create_folder(path) {
        Err(source) if source.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other.map_err(|source| StoreError::io(path, "create", source)),
    }?;
    sync_parent(disk, path)
}

/// Removes a file, a link or a whole folder, if it is there, after it has lost its name in one step: a folder from which
/// one file after the other goes never stands under that name.
pub(crate) fn discard(disk: &dyn Disk, path: &Path) -> Result<()> {
    if fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return Ok(());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = partial(&path.with_file_name(format!("{name}.old")));
    remove_entry(disk, &aside)?;
    disk.rename(path, &aside).map_err(|source| StoreError::io(path, "remove", source))?;
    // After a power cut too, either the whole folder or none has the name.
    sync_parent(disk, path)?;
    remove_entry(disk, &aside)
}

/// Removes a file, a link or a whole folder, if it is there. A link's target is left alone.
pub(crate) fn remove_entry(disk: &dyn Disk, path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => disk.remove_folder(path),
        Ok(_) => disk.remove_file(path),
        Err(source) => Err(source),
    };
    match removed {
        // Somebody else was faster.
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
        // It is renamed, and the name is brought to the disk, before anything is removed.
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
        // Nothing is left to be done, not even on a disk that does nothing.
        create_folders(&FailingDisk::breaks_at(0), &folder).unwrap();
        create_folder(&FileSystem, &folder).unwrap();
        fs::write(folder.join("file"), "").unwrap();
        assert!(create_folder(&FileSystem, &folder.join("file")).is_err());
        assert!(create_folders(&FileSystem, &folder.join("file/c")).is_err());
    }
}
