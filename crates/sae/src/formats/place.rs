//! Locates the files of an SAE's folder.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::SaeError;

/// Returns the path of a file in an SAE's folder. A link must stay in the folder, or, in the Hub's cache, where the files of
/// `snapshots/COMMIT` are links, lead to the `blobs` of the same repository.
pub(super) fn locate(folder: &Path, name: &str) -> Result<PathBuf, SaeError> {
    let path = folder.join(name);
    let failed = |cause| SaeError::Io { path: path.clone(), cause };
    let real_folder = folder.canonicalize().map_err(failed)?;
    let target = path.canonicalize().map_err(failed)?;
    let snapshots = real_folder.ancestors().find(|folder| folder.file_name() == Some(OsStr::new("snapshots")));
    let blobs = snapshots.and_then(Path::parent).map(|repository| repository.join("blobs"));
    if !target.starts_with(&real_folder) && !blobs.is_some_and(|blobs| target.starts_with(blobs)) {
        return Err(SaeError::LeavesFolder { path, target });
    }
    if !target.is_file() {
        // Opening a pipe without a writer would block.
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "expected a file, got something else")));
    }
    Ok(path)
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    #[test]
    fn links_within_the_folder_and_into_the_hubs_blobs_are_followed() {
        let root = tempfile::tempdir().unwrap();
        let (folder, blobs) = (root.path().join("snapshots/0123/layer"), root.path().join("blobs"));
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir(&blobs).unwrap();
        fs::write(blobs.join("abcd"), "{}").unwrap();
        symlink("../../../blobs/abcd", folder.join("cfg.json")).unwrap();
        symlink("cfg.json", folder.join("again")).unwrap();
        fs::write(folder.join("file"), "{}").unwrap();
        for name in ["cfg.json", "again", "file"] {
            assert_eq!(locate(&folder, name).unwrap(), folder.join(name));
        }
    }

    #[test]
    fn a_link_to_elsewhere_is_refused() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
        symlink(outside.path(), root.path().join("cfg.json")).unwrap();
        let error = locate(root.path(), "cfg.json").unwrap_err();
        assert!(matches!(error, SaeError::LeavesFolder { .. }), "{error}");
        assert!(matches!(locate(root.path(), "none"), Err(SaeError::Io { .. })));
    }

    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let root = tempfile::tempdir().unwrap();
        assert!(Command::new("mkfifo").arg(root.path().join("cfg.json")).status().unwrap().success());
        let error = locate(root.path(), "cfg.json").unwrap_err().to_string();
        assert!(error.contains("expected a file, got something else"), "{error}");
    }
}
