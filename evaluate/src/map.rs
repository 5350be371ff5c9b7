//! Memory mapping: the one place where a file is looked at in place.

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;

/// Maps a file read-only. An empty file maps to an empty slice.
#[expect(unsafe_code, reason = "memory-mapping is unsafe because the file may change underneath")]
pub(crate) fn map_file(path: &Path) -> io::Result<Mmap> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "expected a file, got something else"));
    }
    // SAFETY: the user guarantees that an SAE's files are not rewritten while they are read. If they are, loaded
    // numbers may be wrong, and if one is cut short the process may die of SIGBUS. Nothing relies on the bytes for
    // memory safety: the header is parsed with bounds checks, and tensors are copied out before they are used.
    unsafe { Mmap::map(&file) }
}
