//! Paths recorded in files, which must stay inside their folder.

use std::io;
use std::path::{Component, Path, PathBuf};

use crate::error::{Result, StoreError};

/// A folder whose recorded paths are followed only as long as they stay inside it.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file that `named`, a path recorded in the file `named_in`, stands for.
    ///
    /// # Errors
    /// [`StoreError::LeavesFolder`] where it is absolute, has a part other than a plain name, or is or passes through a
    /// symbolic link to somewhere outside. [`StoreError::Damaged`] where there is nothing by that name.
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
        // A name with an escape sequence in it would do as it likes with a terminal that shows it.
        && !named.contains(|letter: char| letter == '\\' || letter.is_control())
        // `components` passes over `.` parts and doubled or trailing slashes; a recorded path has none.
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
