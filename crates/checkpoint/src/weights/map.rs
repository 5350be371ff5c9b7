//! Memory mapping of files.

use std::fs::{File, Metadata};
use std::io;
use std::ops::{Deref, Range};
use std::path::Path;

use memmap2::Mmap;

/// A file, mapped read-only.
#[derive(Debug)]
pub struct MappedFile {
    map: Mmap,
    file: File,
}

impl MappedFile {
    /// A range of the file's bytes, after a check that the file has not been truncated since it was mapped.
    ///
    /// # Errors
    /// `UnexpectedEof`, with both lengths, if the file has become shorter.
    pub fn part(&self, range: Range<usize>) -> io::Result<&[u8]> {
        let (expected, got) = (self.map.len() as u64, self.file.metadata()?.len());
        if got < expected {
            let problem = format!("expected the {expected} bytes that it had when it was opened, got {got}");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, problem));
        }
        Ok(&self.map[range])
    }

    /// Size and times of the mapped file as they are now.
    pub(crate) fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

/// Maps a file of weights read-only. A file of length zero maps to an empty slice.
///
/// # Errors
/// The error of the system, or `InvalidInput` if the path is not a file.
#[expect(unsafe_code, reason = "memory-mapping is unsafe because the file may change underneath")]
pub fn map_file(path: &Path) -> io::Result<MappedFile> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "expected a file, got something else"));
    }
    // SAFETY: the user guarantees that the files of a checkpoint or an SAE are not rewritten while they are read. If one is,
    // loaded numbers may be wrong. If a file is truncated, `part` reports it before each tensor; only a truncation while the
    // tensor is being copied, or while the map is hashed or its header parsed, kills the process with SIGBUS, which no
    // program can rule out without copying. Nothing relies on the bytes for memory safety: every offset is checked against
    // the map's length, tensors are copied out before they are used, and every number type admits every bit pattern.
    let map = unsafe { Mmap::map(&file) }?;
    Ok(MappedFile { map, file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_cut_short_under_the_map_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![7; 100_000]).unwrap();
        let mapped = map_file(file.path()).unwrap();
        assert_eq!(mapped.part(99_990..100_000).unwrap(), [7; 10]);
        file.as_file().set_len(10).unwrap();
        let error = mapped.part(99_990..100_000).unwrap_err().to_string();
        assert!(error.contains("expected the 100000 bytes") && error.contains("got 10"), "{error}");
    }
}
