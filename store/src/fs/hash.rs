//! BLAKE3 hashes of whole files, computed while writing and checked while reading.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use bytes::Bytes;

use crate::error::{Result, StoreError};
use crate::format::records::FileRecord;
use crate::fs::disk::{Disk, DiskFile};
use crate::fs::map::{MappedFile, map_file};
use crate::fs::open::open_file;

/// BLAKE3 of `bytes`, in lower-case hexadecimal.
pub(crate) fn blake3_hex(bytes: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new();
    update(&mut hasher, bytes);
    hasher.finalize().to_hex().to_string()
}

/// Below this size, hashing on several threads costs more than it saves.
const PARALLEL_BYTES: usize = 256 << 10;

fn update(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    if bytes.len() < PARALLEL_BYTES {
        hasher.update(bytes);
    } else {
        hasher.update_rayon(bytes);
    }
}

/// The unit of writing and hashing, aligned to its multiples. BLAKE3 is a tree: only input that starts at a large
/// branch can be hashed with wide vectors and on many threads, and pages start anywhere.
const BLOCK_BYTES: usize = 1 << 20;

/// A new file that is hashed as it is written, so that it need not be read back.
pub(crate) struct HashingFile {
    file: Box<dyn DiskFile>,
    hasher: blake3::Hasher,
    bytes: u64,
    /// The start of the next block.
    pending: Vec<u8>,
}

impl HashingFile {
    pub(crate) fn create(disk: &dyn Disk, path: &Path) -> Result<Self> {
        let file = disk.create(path).map_err(|source| StoreError::io(path, "create", source))?;
        Ok(Self { file, hasher: blake3::Hasher::new(), bytes: 0, pending: Vec::new() })
    }

    /// Syncs the file and returns its record, with the path `name`.
    pub(crate) fn finish(mut self, path: &Path, name: impl Into<String>) -> Result<FileRecord> {
        self.flush().map_err(|source| StoreError::io(path, "write", source))?;
        self.file.sync().map_err(|source| StoreError::io(path, "write to the disk", source))?;
        let blake3 = self.hasher.finalize().to_hex().to_string();
        Ok(FileRecord { path: name.into(), bytes: self.bytes, blake3 })
    }

    /// Writes and hashes in parallel if there is a second thread, and otherwise while the block is in the CPU cache.
    fn put(file: &mut dyn DiskFile, hasher: &mut blake3::Hasher, bytes: &[u8]) -> io::Result<()> {
        for block in bytes.chunks(BLOCK_BYTES) {
            rayon::join(|| file.write_all(block), || update(hasher, block)).0?;
        }
        Ok(())
    }
}

impl Write for HashingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        if !self.pending.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(BLOCK_BYTES - self.pending.len()));
            self.pending.extend_from_slice(now);
            rest = later;
            if self.pending.len() == BLOCK_BYTES {
                Self::put(self.file.as_mut(), &mut self.hasher, &self.pending)?;
                self.pending.clear();
            }
        }
        // `pending` is empty if `rest` is not.
        let (whole, beginning) = rest.split_at(rest.len() / BLOCK_BYTES * BLOCK_BYTES);
        Self::put(self.file.as_mut(), &mut self.hasher, whole)?;
        self.pending.extend_from_slice(beginning);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::put(self.file.as_mut(), &mut self.hasher, &self.pending)?;
        self.pending.clear();
        self.file.flush()
    }
}

/// Maps a file and checks its size, but not yet its hash.
pub(crate) fn map_sized(path: &Path, record: &FileRecord) -> Result<MappedFile> {
    let file = map_file(path)?;
    check_size(path, record, file.bytes.len() as u64)?;
    Ok(file)
}

/// Limit on the size of a file read into memory. A shard of about fifteen million tokens with 64 predictions each stays
/// below it.
const MAX_READ_BYTES: u64 = 8 << 30;

/// Reads a file into memory, where no other process can change it, and checks its size and hash.
pub(crate) fn read_verified(path: &Path, record: &FileRecord) -> Result<Bytes> {
    let (file, _) = open_sized(path, record)?;
    if record.bytes > MAX_READ_BYTES {
        return Err(StoreError::damaged(path, format!("at most {MAX_READ_BYTES} bytes"), record.bytes));
    }
    let mut bytes = Vec::with_capacity(record.bytes as usize);
    file.take(record.bytes).read_to_end(&mut bytes).map_err(|source| StoreError::io(path, "read", source))?;
    check_hash(path, record, &bytes)?;
    Ok(bytes.into())
}

/// Checks a file's size and hash, in little memory.
pub(crate) fn check_file(path: &Path, record: &FileRecord) -> Result<()> {
    let (mut file, mut left) = open_sized(path, record)?;
    let mut hasher = blake3::Hasher::new();
    let mut block = vec![0; BLOCK_BYTES.min(left as usize)];
    while left > 0 {
        let part = &mut block[..BLOCK_BYTES.min(left as usize)];
        file.read_exact(part).map_err(|source| StoreError::io(path, "read", source))?;
        update(&mut hasher, part);
        left -= part.len() as u64;
    }
    compare(path, record, &hasher)
}

fn open_sized(path: &Path, record: &FileRecord) -> Result<(File, u64)> {
    let file = open_file(path)?;
    let bytes = file.metadata().map_err(|source| StoreError::io(path, "read the size of", source))?.len();
    check_size(path, record, bytes)?;
    Ok((file, bytes))
}

fn check_size(path: &Path, record: &FileRecord, got: u64) -> Result<()> {
    if got != record.bytes {
        return Err(StoreError::damaged(path, format!("{} bytes", record.bytes), format!("{got} bytes")));
    }
    Ok(())
}

fn check_hash(path: &Path, record: &FileRecord, bytes: &[u8]) -> Result<()> {
    let mut hasher = blake3::Hasher::new();
    update(&mut hasher, bytes);
    compare(path, record, &hasher)
}

fn compare(path: &Path, record: &FileRecord, hasher: &blake3::Hasher) -> Result<()> {
    let got = hasher.finalize().to_hex();
    if got.as_str() != record.blake3 {
        return Err(StoreError::damaged(path, format!("BLAKE3 {}", record.blake3), format!("BLAKE3 {got}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::disk::FileSystem;

    #[test]
    fn a_file_is_recorded_as_written_and_known_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mut file = HashingFile::create(&FileSystem, &path).unwrap();
        file.write_all(b"hay").unwrap();
        file.write_all(b"loft").unwrap();
        let record = file.finish(&path, "a").unwrap();
        assert_eq!(record.blake3, blake3::hash(b"hayloft").to_hex().as_str());
        assert_eq!(read_verified(&path, &record).unwrap(), "hayloft");
        check_file(&path, &record).unwrap();

        let problems =
            || [read_verified(&path, &record).map(|_| ()), check_file(&path, &record)].map(Result::unwrap_err);
        std::fs::write(&path, "hayloff").unwrap();
        assert!(problems().iter().all(|error| error.to_string().contains("expected BLAKE3")));
        std::fs::write(&path, "").unwrap();
        assert!(problems().iter().all(|error| error.to_string().contains("expected 7 bytes, got 0 bytes")));
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(problems().iter().all(|error| error.to_string().contains("expected a file")));
    }

    #[test]
    fn threads_do_not_change_the_hash() {
        let bytes: Vec<u8> = (0..3 * PARALLEL_BYTES).map(|index| ((index * 31) >> 3) as u8).collect();
        assert_eq!(blake3_hex(&bytes), blake3::hash(&bytes).to_hex().as_str());
    }

    #[test]
    fn pieces_of_any_length_are_written_and_hashed_as_one() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..4 * BLOCK_BYTES + 77).map(|index| ((index * 31) >> 3) as u8).collect();
        for (number, piece) in
            [7777, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, bytes.len()].into_iter().enumerate()
        {
            let path = folder.path().join(number.to_string());
            let mut file = HashingFile::create(&FileSystem, &path).unwrap();
            for (index, piece) in bytes.chunks(piece).enumerate() {
                file.write_all(piece).unwrap();
                if index == 1 {
                    file.flush().unwrap();
                }
            }
            let record = file.finish(&path, "a").unwrap();
            assert_eq!(record.blake3, blake3::hash(&bytes).to_hex().as_str());
            assert!(std::fs::read(&path).unwrap() == bytes);
            check_file(&path, &record).unwrap();
        }
    }
}
