//! Memory mapping, which is unsafe.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use memmap2::Mmap;

use crate::error::{Result, StoreError};
use crate::fs::open::open_file;

/// The bytes of a file and their map.
pub(crate) struct MappedFile {
    pub(crate) bytes: Bytes,
    pub(crate) map: Option<Map>,
}

/// Bytes that are not mapped.
impl From<Bytes> for MappedFile {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, map: None }
    }
}

/// A map, for advice to the kernel, and its file. The map's contents are handed out as [`Bytes`], which keep the map
/// alive.
#[derive(Clone, Debug)]
pub(crate) struct Map {
    map: Arc<Mmap>,
    file: Arc<File>,
}

/// Keeps a map alive while its bytes are in use.
struct Owner(Arc<Mmap>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Map {
    /// Rejects a file that was truncated after it was mapped. Reading the missing bytes would fault.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] with both lengths.
    pub(crate) fn check_length(&self, path: &Path) -> Result<()> {
        let metadata = self.file.metadata().map_err(|source| StoreError::io(path, "read the size of", source))?;
        let (expected, got) = (self.map.len() as u64, metadata.len());
        if got < expected {
            let expected = format!("the {expected} bytes that it had when it was opened");
            return Err(StoreError::damaged(path, expected, format!("{got} bytes")));
        }
        Ok(())
    }

    /// Prefetches `range`, which is to be read soon.
    #[cfg(unix)]
    pub(crate) fn will_need(&self, range: Range<usize>) {
        // Failed advice changes no byte.
        let _ = self.map.advise_range(memmap2::Advice::WillNeed, range.start, range.len());
    }

    /// Releases the pages of `range`, which is not to be read again soon.
    #[cfg(unix)]
    #[expect(unsafe_code, reason = "for maps that are written to, this advice throws bytes away")]
    pub(crate) fn done_with(&self, range: Range<usize>) {
        // SAFETY: the map is of a file and is never written to, so a released page is read from the file again on its
        // next access, with the same bytes as long as no process changes the file. Failed advice changes no byte.
        let _ =
            unsafe { self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len()) };
    }

    /// No-op on this platform.
    #[cfg(not(unix))]
    pub(crate) fn done_with(&self, _range: Range<usize>) {}

    /// No-op on this platform.
    #[cfg(not(unix))]
    pub(crate) fn will_need(&self, _range: Range<usize>) {}
}

/// Maps a file. An empty file cannot be mapped and gives empty bytes.
pub(crate) fn map_file(path: &Path) -> Result<MappedFile> {
    let file = open_file(path)?;
    let metadata = file.metadata().map_err(|source| StoreError::io(path, "read the size of", source))?;
    if metadata.len() == 0 {
        return Ok(Bytes::new().into());
    }
    // SAFETY: the map is sound as long as no process changes or truncates the file while it is mapped. This crate never
    // does: a shard's files are written under a temporary name and never opened for writing again after the rename, and
    // a rename or removal leaves an open map intact. No reference into the map outlives it: `Bytes` owns the map.
    //
    // Another program could. Bytes that it changes fail their checksums, except between the check and the use of a
    // view. Truncation is reported by `check_length`, which is called before each row group. One case remains: if the
    // file is truncated while a row group is being read, or while a view of it is in use, accessing the missing bytes
    // ends the process with SIGBUS. Only copying could rule that out. So readers of a cache copy every file except
    // activation files, which are too large for that. Maintenance, imports and repair map what they copy or convert.
    #[expect(unsafe_code, reason = "a map of a file that others could change cannot be made safely")]
    let map = unsafe { Mmap::map(&file) };
    let map = map.map_err(|source| StoreError::io(path, "map", source))?;
    let map = Arc::new(map);
    let bytes = Bytes::from_owner(Owner(Arc::clone(&map)));
    Ok(MappedFile { bytes, map: Some(Map { map, file: Arc::new(file) }) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_empty_files_and_folders() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "hay").unwrap();
        let mapped = map_file(&path).unwrap();
        assert_eq!(mapped.bytes, "hay");
        let map = mapped.map.unwrap();
        map.will_need(1..3);
        map.done_with(0..3);
        map.check_length(&path).unwrap();
        assert_eq!(mapped.bytes, "hay", "what was given up is read again");
        std::fs::write(&path, "").unwrap();
        assert!(map_file(&path).unwrap().bytes.is_empty());
        assert!(map_file(folder.path()).is_err());
        assert!(matches!(map_file(&folder.path().join("b")).err().unwrap(), StoreError::Io { .. }));
    }
}
