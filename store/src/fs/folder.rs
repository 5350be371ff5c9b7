//! Paths recorded in files. They must stay inside their folder.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Result, StoreError};
use crate::format::records::FileRecord;
use crate::fs::hash::{map_sized, read_verified};
use crate::fs::map::MappedFile;

/// Fetches remote files on demand.
pub(crate) trait Fetch: Debug + Send + Sync {
    /// Fetches the file recorded as `named`, a path relative to the cache, with parts joined by `/`.
    fn fetch(&self, named: &str, record: &FileRecord) -> Result<Located>;
}

/// The local copy of a cache's file.
#[derive(Debug)]
pub(crate) struct Located {
    pub(crate) path: PathBuf,
    /// Keeps a temporary file from being removed.
    pub(crate) keep: Option<File>,
}

/// The bytes of a file, and a handle that keeps the file.
struct Kept {
    bytes: Bytes,
    _keep: File,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Located {
    /// Maps the file and checks its size, but not yet its hash. The bytes keep the file.
    pub(crate) fn map_sized(self, record: &FileRecord) -> Result<MappedFile> {
        let mut mapped = map_sized(&self.path, record)?;
        if let Some(keep) = self.keep {
            mapped.bytes = Bytes::from_owner(Kept { bytes: mapped.bytes, _keep: keep });
        }
        Ok(mapped)
    }

    /// Reads the file and checks its size and hash.
    pub(crate) fn read_verified(&self, record: &FileRecord) -> Result<Bytes> {
        read_verified(&self.path, record)
    }
}

/// A folder that resolves recorded paths only if they stay inside it.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// The source of remote files, and the folder's name there with a trailing slash.
    elsewhere: Option<(Arc<dyn Fetch>, String)>,
}

impl Folder {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), elsewhere: None }
    }

    /// A folder whose files `fetch` provides on demand.
    pub(crate) fn elsewhere(path: impl Into<PathBuf>, fetch: Arc<dyn Fetch>) -> Self {
        Self { path: path.into(), elsewhere: Some((fetch, String::new())) }
    }

    /// The subfolder `named`. See [`Self::locate`].
    pub(crate) fn inner(&self, named_in: &Path, named: &str) -> Result<Self> {
        let Some((fetch, above)) = &self.elsewhere else {
            return Ok(Self::new(self.locate(named_in, named)?));
        };
        let relative = plain_path(named)
            .ok_or_else(|| StoreError::LeavesFolder { path: named_in.to_owned(), named: named.to_owned() })?;
        Ok(Self { path: self.path.join(relative), elsewhere: Some((Arc::clone(fetch), format!("{above}{named}/"))) })
    }

    /// The file of a record in the file `named_in`, fetched if it is remote. See [`Self::locate`].
    pub(crate) fn file(&self, named_in: &Path, record: &FileRecord) -> Result<Located> {
        let Some((fetch, above)) = &self.elsewhere else {
            return Ok(Located { path: self.locate(named_in, &record.path)?, keep: None });
        };
        if plain_path(&record.path).is_none() {
            return Err(StoreError::LeavesFolder { path: named_in.to_owned(), named: record.path.clone() });
        }
        fetch.fetch(&format!("{above}{}", record.path), record)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Resolves `named`, a path recorded in the file `named_in`.
    ///
    /// # Errors
    /// [`StoreError::LeavesFolder`] if it is absolute, has a part other than a plain name, or leads outside through a
    /// symbolic link. [`StoreError::Damaged`] if it does not exist.
    pub(crate) fn locate(&self, named_in: &Path, named: &str) -> Result<PathBuf> {
        let leaves = || StoreError::LeavesFolder { path: named_in.to_owned(), named: named.to_owned() };
        let relative = plain_path(named).ok_or_else(leaves)?;
        let path = self.path.join(relative);
        let real_folder =
            self.path.canonicalize().map_err(|source| StoreError::io(&self.path, "find the folder", source))?;
        match path.canonicalize() {
            Ok(real) if real.starts_with(&real_folder) => Ok(path),
            Ok(_) => Err(leaves()),
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::damaged(&path, format!("the file that {} lists", named_in.display()), "no file"))
            }
            Err(source) => Err(StoreError::io(&path, "find", source)),
        }
    }
}

/// `named` as a path, if it is one or more plain names joined by `/`.
pub(crate) fn plain_path(named: &str) -> Option<&Path> {
    let path = Path::new(named);
    let plain = !named.is_empty()
        // An escape sequence in a name could control the terminal that prints it.
        && !named.contains(|letter: char| letter == '\\' || letter.is_control())
        // `components` ignores `.` parts and doubled or trailing slashes, which a recorded path does not have.
        && named.split('/').all(|part| !part.is_empty() && part != ".")
        && path.components().all(|component| matches!(component, Component::Normal(_)));
    plain.then_some(path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn paths_that_leave_the_folder_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Folder::new(folder.path());
        for named in
            ["", "/etc/passwd", "../a", "a/../../b", "a/..", "./a", "a//b", "a/", "a\\..\\b", "a\0b", "a\u{1b}[2J"]
        {
            let error = folder.locate(Path::new("manifest.json"), named).unwrap_err();
            assert!(matches!(error, StoreError::LeavesFolder { .. }), "{named}: {error}");
        }
    }

    #[test]
    fn a_link_out_of_the_folder_is_refused_and_one_that_stays_is_followed() {
        let outside = tempfile::NamedTempFile::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("real"), "x").unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("out")).unwrap();
        std::os::unix::fs::symlink("real", folder.path().join("in")).unwrap();
        std::os::unix::fs::symlink(outside.path().parent().unwrap(), folder.path().join("up")).unwrap();
        let folder = Folder::new(folder.path());
        let through = format!("up/{}", outside.path().file_name().unwrap().to_string_lossy());
        for named in ["out", "up", &through] {
            let error = folder.locate(Path::new("manifest.json"), named).unwrap_err();
            assert!(matches!(error, StoreError::LeavesFolder { .. }), "{named}: {error}");
        }
        assert!(folder.locate(Path::new("manifest.json"), "in").is_ok());
        let missing = folder.locate(Path::new("manifest.json"), "none").unwrap_err();
        assert!(matches!(missing, StoreError::Damaged { .. }), "{missing}");
    }
}
