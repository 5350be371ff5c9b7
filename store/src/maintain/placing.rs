//! Places files of one cache in another unchanged: hard-linked if possible, otherwise copied, with their hashes
//! checked.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::error::{Result, StoreError};
use crate::format::records::FileRecord;
use crate::format::shard_record::WrittenShard;
use crate::fs::disk::Disk;
use crate::fs::hash::{HashingFile, map_sized};
use crate::fs::map::MappedFile;
use crate::fs::staged::StagedFolder;
use crate::maintain::holding::Holding;
use crate::read::verify::Progress;

/// How to place files in another cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Files {
    /// As hard links: the same bytes on the disk under a second name, at no cost. A cache's files are never written to
    /// again, so neither cache can change the other. Copies if the file system has no links or is a different one.
    #[default]
    LinkOrCopy,
    /// As copies, so that disk damage to one leaves the other intact.
    Copy,
}

/// How many files were placed in a cache, by method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Placed {
    /// Files linked.
    pub linked_files: u64,
    /// Bytes linked.
    pub linked_bytes: u64,
    /// Files copied.
    pub copied_files: u64,
    /// Bytes copied.
    pub copied_bytes: u64,
}

/// Bytes hashed or copied between two progress reports.
const PIECE_BYTES: usize = 32 << 20;

/// Places files and reports progress.
pub(super) struct Placing<'a> {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) placed: Placed,
    files: Files,
    bytes: u64,
    total_bytes: u64,
    progress: &'a mut dyn FnMut(Progress<'_>),
}

impl<'a> Placing<'a> {
    /// `total_bytes` is the size of all files to place.
    pub(super) fn new(
        disk: &Arc<dyn Disk>,
        files: Files,
        total_bytes: u64,
        progress: &'a mut dyn FnMut(Progress<'_>),
    ) -> Self {
        Self { disk: Arc::clone(disk), placed: Placed::default(), files, bytes: 0, total_bytes, progress }
    }

    /// Places the file at `from`, which must match `record`, at `to`.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if it does not match; `to` may then exist, in a folder that is still staged.
    pub(super) fn place(&mut self, from: &Path, record: &FileRecord, to: &Path) -> Result<()> {
        let mapped = map_sized(from, record)?;
        if self.link(from, to)? {
            self.check(from, record, &mapped)?;
            self.placed.linked_files += 1;
            self.placed.linked_bytes += record.bytes;
        } else {
            self.copy(from, record, &mapped, to)?;
            self.placed.copied_files += 1;
            self.placed.copied_bytes += record.bytes;
        }
        Ok(())
    }

    /// Like `place`, within one cache: a link to a file that is already part of it needs no check.
    pub(super) fn place_own(&mut self, from: &Path, record: &FileRecord, to: &Path) -> Result<()> {
        let mapped = map_sized(from, record)?;
        if self.link(from, to)? {
            self.advance(record.bytes, from);
            self.placed.linked_files += 1;
            self.placed.linked_bytes += record.bytes;
            return Ok(());
        }
        self.copy(from, record, &mapped, to)?;
        self.placed.copied_files += 1;
        self.placed.copied_bytes += record.bytes;
        Ok(())
    }

    /// Places every file of a shard of `holding` in a staged folder.
    pub(super) fn place_shard(&mut self, holding: &Holding, shard: &WrittenShard, into: &StagedFolder) -> Result<()> {
        for file in &shard.record.files {
            self.place(&holding.locate(shard, file)?, file, &into.file(&file.path))?;
        }
        Ok(())
    }

    /// Reports `bytes` more as done, of `file`.
    pub(super) fn advance(&mut self, bytes: u64, file: &Path) {
        self.bytes += bytes;
        let file = file.to_string_lossy();
        (self.progress)(Progress { bytes: self.bytes, total_bytes: self.total_bytes.max(self.bytes), file: &file });
    }

    /// Creates a hard link. Returns `false` if the file has to be copied.
    fn link(&self, from: &Path, to: &Path) -> Result<bool> {
        if self.files == Files::Copy {
            return Ok(false);
        }
        // Resolve symbolic links: a link to one would break when its target is removed.
        let real = from.canonicalize().map_err(|source| StoreError::io(from, "find", source))?;
        match self.disk.link(&real, to) {
            Ok(()) => Ok(true),
            Err(source) => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::AlreadyExists => {
                    Err(StoreError::io(to, "link", source))
                }
                // Another file system, one without links, or a rule against links to other users' files.
                _ => Ok(false),
            },
        }
    }

    fn check(&mut self, path: &Path, record: &FileRecord, mapped: &MappedFile) -> Result<()> {
        let mut hasher = blake3::Hasher::new();
        for start in (0..mapped.bytes.len()).step_by(PIECE_BYTES) {
            let range = start..mapped.bytes.len().min(start + PIECE_BYTES);
            hasher.update_rayon(&mapped.bytes[range.clone()]);
            self.advance(range.len() as u64, path);
            if let Some(map) = &mapped.map {
                map.done_with(range);
            }
        }
        same_hash(path, record, &hasher.finalize().to_hex())
    }

    fn copy(&mut self, from: &Path, record: &FileRecord, mapped: &MappedFile, to: &Path) -> Result<()> {
        let mut sink = HashingFile::create(self.disk.as_ref(), to)?;
        for start in (0..mapped.bytes.len()).step_by(PIECE_BYTES) {
            let range = start..mapped.bytes.len().min(start + PIECE_BYTES);
            sink.write_all(&mapped.bytes[range.clone()]).map_err(|source| StoreError::io(to, "write", source))?;
            self.advance(range.len() as u64, from);
            if let Some(map) = &mapped.map {
                map.done_with(range);
            }
        }
        same_hash(from, record, &sink.finish(to, record.path.clone())?.blake3)
    }
}

fn same_hash(path: &Path, record: &FileRecord, got: &str) -> Result<()> {
    if got == record.blake3 {
        return Ok(());
    }
    Err(StoreError::damaged(path, format!("BLAKE3 {}", record.blake3), format!("BLAKE3 {got}")))
}

/// The total size of the files of these shards.
pub(super) fn bytes_of<'a>(shards: impl IntoIterator<Item = &'a WrittenShard>) -> u64 {
    let files = shards.into_iter().flat_map(|shard| &shard.record.files);
    files.fold(0, |sum: u64, file| sum.saturating_add(file.bytes))
}

/// Starts staging a folder, after removing the leftover of a killed attempt.
pub(super) fn restage(disk: &Arc<dyn Disk>, destination: PathBuf) -> Result<StagedFolder> {
    StagedFolder::remove_leftover(disk.as_ref(), &destination)?;
    StagedFolder::create(Arc::clone(disk), destination)
}
