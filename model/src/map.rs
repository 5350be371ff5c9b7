//! Memory mapping: the one place where a file is looked at in place.

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

use crate::ModelError;

/// Maps a file read-only. A file of length zero maps to an empty slice.
#[expect(unsafe_code, reason = "memory-mapping is unsafe because the file may change underneath")]
pub(crate) fn map_file(path: &Path) -> Result<Mmap, ModelError> {
    let file = File::open(path).map_err(|source| ModelError::io(path, source))?;
    // SAFETY: the user guarantees that a checkpoint is not rewritten while it is read. If it is, loaded numbers may be
    // wrong, and if it is cut short the process may die of SIGBUS; nothing here relies on the bytes for memory safety,
    // as every offset is checked against the map's length and every number type admits every bit pattern.
    unsafe { Mmap::map(&file) }.map_err(|source| ModelError::io(path, source))
}
