//! Memory mapping: the crate's only unsafe code.

use std::fs::File;
use std::path::Path;

use bytes::Bytes;
use memmap2::Mmap;

use crate::error::{Result, StoreError};

/// The bytes of a file, mapped. An empty file, which cannot be mapped, is empty bytes.
pub(crate) fn map_file(path: &Path) -> Result<Bytes> {
    let file = File::open(path).map_err(|source| StoreError::io(path, "open", source))?;
    let metadata = file.metadata().map_err(|source| StoreError::io(path, "read the size of", source))?;
    if !metadata.is_file() {
        return Err(StoreError::damaged(path, "a file", "something else"));
    }
    if metadata.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the map is sound as long as nobody changes or truncates the file while it is mapped. This crate never
    // does: a shard's files are written under a temporary name and never opened for writing again after the rename,
    // and a rename or removal leaves an open map whole. Another program could; then reads may see bytes change, which
    // the checksums turn into an error in all but the moment between check and use, or end the process with SIGBUS
    // where the file was cut short. No reference into the map outlives it: `Bytes` owns the map.
    #[expect(unsafe_code, reason = "a map of a file that others could change cannot be made safely")]
    let map = unsafe { Mmap::map(&file) };
    let map = map.map_err(|source| StoreError::io(path, "map", source))?;
    Ok(Bytes::from_owner(map))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_empty_files_and_folders() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "hay").unwrap();
        assert_eq!(map_file(&path).unwrap(), "hay");
        std::fs::write(&path, "").unwrap();
        assert!(map_file(&path).unwrap().is_empty());
        assert!(map_file(folder.path()).is_err());
        assert!(matches!(map_file(&folder.path().join("b")).unwrap_err(), StoreError::Io { .. }));
    }
}
