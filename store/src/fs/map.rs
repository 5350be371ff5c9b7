//! Memory mapping, which is unsafe.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use memmap2::Mmap;

use crate::error::{Result, StoreError};
use crate::fs::open::open_file;

/// The bytes of a file, and the map that they are in.
pub(crate) struct MappedFile {
    pub(crate) bytes: Bytes,
    pub(crate) map: Option<Map>,
}

/// Bytes that no file is behind.
impl From<Bytes> for MappedFile {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, map: None }
    }
}

/// A map, to give the system advice about, and the file behind it. The map's bytes are handed out as [`Bytes`], which
/// keep it.
#[derive(Clone, Debug)]
pub(crate) struct Map {
    map: Arc<Mmap>,
    file: Arc<File>,
}

/// What keeps a map as long as any of its bytes are looked at.
struct Owner(Arc<Mmap>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Map {
    /// Refuses a file that has become shorter since it was mapped, whose missing bytes could not be touched.
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

    /// Says that `range` is soon to be read, so that it be brought from the disk by then.
    #[cfg(unix)]
    pub(crate) fn will_need(&self, range: Range<usize>) {
        // Advice that is not taken changes no byte.
        let _ = self.map.advise_range(memmap2::Advice::WillNeed, range.start, range.len());
    }

    /// Says that `range` is not to be read again soon: its pages no longer count as this process's memory.
    #[cfg(unix)]
    #[expect(unsafe_code, reason = "for maps that are written to, this advice throws bytes away")]
    pub(crate) fn done_with(&self, range: Range<usize>) {
        // SAFETY: the map is of a file and is never written to, so that a page that is given up is read from the file
        // again when somebody looks at it, with the same bytes as long as nobody changes the file.
        // Advice that is not taken changes no byte.
        let _ =
            unsafe { self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len()) };
    }

    /// Says that `range` is not to be read again soon; here, nobody listens.
    #[cfg(not(unix))]
    pub(crate) fn done_with(&self, _range: Range<usize>) {}

    /// Says that `range` is soon to be read; here, nobody listens.
    #[cfg(not(unix))]
    pub(crate) fn will_need(&self, _range: Range<usize>) {}
}

/// The bytes of a file, mapped. An empty file, which cannot be mapped, is empty bytes.
pub(crate) fn map_file(path: &Path) -> Result<MappedFile> {
    let file = open_file(path)?;
    let metadata = file.metadata().map_err(|source| StoreError::io(path, "read the size of", source))?;
    if metadata.len() == 0 {
        return Ok(Bytes::new().into());
    }
    // SAFETY: the map is sound as long as nobody changes or truncates the file while it is mapped. This crate never
    // does: a shard's files are written under a temporary name and never opened for writing again after the rename,
    // and a rename or removal leaves an open map whole. No reference into the map outlives it: `Bytes` owns the map.
    //
    // Another program could. Bytes that it changes are an error by their checksums, in all but the moment between check
    // and use of a view. Where it cuts the file short, `check_length` is asked before each row group and says so.
    // What cannot be promised: if the file is cut short just while a row group is being read, or while a view of it is
    // in use, touching what is gone ends the process with SIGBUS. Only copying could rule that out, and so all files but
    // those of activations, which are too large for that, are read by copying and never mapped.
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
