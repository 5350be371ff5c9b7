//! Opens files from untrusted sources.

use std::fs::File;
use std::path::Path;

use crate::error::{Result, StoreError};

/// Opens a file for reading. Anything but a regular file is rejected before it is opened: opening a pipe without a
/// writer would block.
pub(crate) fn open_file(path: &Path) -> Result<File> {
    let metadata = path.metadata().map_err(|source| StoreError::io(path, "open", source))?;
    if !metadata.is_file() {
        return Err(StoreError::damaged(path, "a file", "something else"));
    }
    File::open(path).map_err(|source| StoreError::io(path, "open", source))
}

#[cfg(all(test, unix))]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("manifest.json");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let error = open_file(&pipe).unwrap_err().to_string();
        assert!(error.contains("expected a file, got something else"), "{error}");
        assert!(open_file(folder.path()).is_err());
        assert!(matches!(open_file(&folder.path().join("none")), Err(StoreError::Io { .. })));
    }
}
