//! Reading an activation file through a memory map. Each row group is verified before it is returned.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use hayloft_runtime::Dtype;
use parquet::file::metadata::RowGroupMetaData;

use crate::codec::pages::{Chunk, Pages};
use crate::error::{Result, StoreError};
use crate::format::activations::decoding::Blocks;
use crate::format::activations::footer::{check_schema, read_footer};
use crate::format::activations::layout::{Checksums, Layout};
use crate::format::tables::sequences::Sequence;
use crate::fs::map::{Map, MappedFile};

/// One site's activations over one shard. Threads can share it and read row groups concurrently.
#[derive(Debug)]
pub struct ActivationReader {
    path: PathBuf,
    file: Arc<Bytes>,
    map: Option<Map>,
    layout: Layout,
    block_rows: usize,
    row_groups: Vec<RowGroup>,
}

#[derive(Debug)]
struct RowGroup {
    rows: usize,
    /// Chunks in the order of the codec's columns.
    chunks: Vec<Chunk>,
}

impl ActivationReader {
    /// Reads the footer of the file at `path`, with contents `file`, and checks it against the expected layout.
    pub(crate) fn open(
        path: PathBuf,
        file: MappedFile,
        layout: Layout,
        footer_blake3: &str,
        row_group_rows: &[u64],
    ) -> Result<Self> {
        let MappedFile { bytes: file, map } = file;
        let (metadata, data_end) = read_footer(&path, &file, footer_blake3)?;
        check_schema(&path, &metadata, &layout)?;
        let rows: Vec<u64> =
            metadata.row_groups().iter().map(|group| u64::try_from(group.num_rows()).unwrap_or(0)).collect();
        if rows != row_group_rows {
            let say = |rows: &[u64]| format!("{} row groups of {} rows in all", rows.len(), total(rows));
            return Err(StoreError::damaged(&path, say(row_group_rows), say(&rows)));
        }
        let key_values = metadata.file_metadata().key_value_metadata();
        let Checksums { block_rows, row_groups: checksums } = layout.read_key_values(&path, key_values, &rows)?;
        let row_groups = metadata
            .row_groups()
            .iter()
            .zip(checksums)
            .enumerate()
            .map(|(index, (group, checksums))| RowGroup::check(&path, index, group, checksums, &layout, data_end))
            .collect::<Result<_>>()?;
        Ok(Self { path, file: Arc::new(file), map, layout, block_rows, row_groups })
    }

    /// Returns the number of row groups.
    pub fn row_groups(&self) -> usize {
        self.row_groups.len()
    }

    /// Returns the number of rows of a row group; 0 if there is no such row group.
    pub fn rows(&self, row_group: usize) -> usize {
        self.row_groups.get(row_group).map_or(0, |group| group.rows)
    }

    /// Returns the number of elements of a row.
    pub fn d_model(&self) -> usize {
        self.layout.d_model
    }

    /// Returns the dtype of the decoded words: that of the cache, or f32 for a lossy codec.
    pub fn dtype(&self) -> Dtype {
        self.layout.read_dtype()
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads a row group into `into` as little-endian words of [`Self::dtype`], `[rows, d_model]`. They are bit-exact
    /// unless the codec is lossy. The previous contents of `into` are discarded and its memory is reused.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] on a checksum mismatch; `into` is then empty.
    pub fn read(&self, row_group: usize, into: &mut Vec<u8>) -> Result<()> {
        self.read_rows(row_group, 0..self.rows(row_group), into)
    }

    /// Reads and verifies some rows of a row group, such as those of one sequence. Decodes only the blocks that cover
    /// them.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if the rows are out of range, [`StoreError::Damaged`] on a checksum mismatch. `into` is
    /// then empty.
    pub fn read_rows(&self, row_group: usize, rows: Range<usize>, into: &mut Vec<u8>) -> Result<()> {
        let read = self.group(row_group).and_then(|group| {
            if rows.start > rows.end || rows.end > group.rows {
                let what = format!("{}: rows of row group {row_group}", self.path.display());
                return Err(StoreError::invalid(
                    what,
                    format!("within 0 to {}", group.rows),
                    format!("{} to {}", rows.start, rows.end),
                ));
            }
            self.read_group(row_group, group, &rows, into)
        });
        if read.is_err() {
            into.clear();
        }
        read
    }

    /// Reads and verifies some rows of a row group into `into`, which must have exactly their size. Whole blocks are decoded
    /// in place.
    ///
    /// # Errors
    /// As [`Self::read_rows`]. The contents of `into` are then undefined.
    pub fn read_rows_into(&self, row_group: usize, rows: Range<usize>, into: &mut [u8]) -> Result<()> {
        let row_bytes = self.layout.read_row_bytes();
        if into.len() != rows.len() * row_bytes {
            let what = format!("{}: buffer for {} rows", self.path.display(), rows.len());
            return Err(StoreError::invalid(what, format!("{} bytes", rows.len() * row_bytes), into.len()));
        }
        let group = self.group(row_group)?;
        let block_rows = self.block_rows.min(group.rows.max(1));
        let first_whole = rows.start.next_multiple_of(block_rows);
        let end_whole = if rows.end == group.rows { rows.end } else { rows.end / block_rows * block_rows };
        let mut edges = vec![rows.clone()];
        if first_whole < end_whole && end_whole <= group.rows {
            let blocks = self.blocks(row_group, group)?;
            let words = &mut into[(first_whole - rows.start) * row_bytes..(end_whole - rows.start) * row_bytes];
            blocks.decode(first_whole..end_whole, words)?;
            edges = vec![rows.start..first_whole, end_whole..rows.end];
        }
        let mut scratch = Vec::new();
        for edge in edges.into_iter().filter(|edge| !edge.is_empty()) {
            self.read_rows(row_group, edge.clone(), &mut scratch)?;
            let start = (edge.start - rows.start) * row_bytes;
            into[start..start + scratch.len()].copy_from_slice(&scratch);
        }
        Ok(())
    }

    /// Returns the number of rows that are decoded and verified together.
    pub fn block_rows(&self) -> usize {
        self.block_rows
    }

    /// Reads the rows of one sequence of the shard with [`Self::read_rows`].
    pub fn read_sequence(&self, sequence: &Sequence, into: &mut Vec<u8>) -> Result<()> {
        let row_group = sequence.row_group as usize;
        let before: usize = self.row_groups.iter().take(row_group).map(|group| group.rows).sum();
        let Some(first) = usize::try_from(sequence.first_row).ok().and_then(|row| row.checked_sub(before)) else {
            let what = format!("{}: first row of sequence {}", self.path.display(), sequence.id);
            return Err(StoreError::invalid(what, format!("at least {before}"), sequence.first_row));
        };
        self.read_rows(row_group, first..first.saturating_add(sequence.length as usize), into)
    }

    /// Returns a zero-copy view of a row group's words, equal to those of [`Self::read`]. Returns `None` for codecs
    /// other than `raw`, whose words must be decoded.
    ///
    /// The bytes are verified before return. They stay readable as long as the view or a clone of it exists, even after
    /// the reader is dropped. They have no alignment, so read words from bytes. The view aliases the file: later
    /// changes to the file show up in it unverified, and truncating the file kills this process. Use `read` for an
    /// immutable copy.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] on a checksum mismatch.
    pub fn view(&self, row_group: usize) -> Result<Option<Bytes>> {
        let group = self.group(row_group)?;
        if !self.layout.codec.is_plain() {
            return Ok(None);
        }
        let blocks = self.blocks(row_group, group)?;
        let [bits] = blocks.columns.as_slice() else {
            return Err(StoreError::damaged(&self.path, "one column", blocks.columns.len()));
        };
        blocks.check_stored(bits)?;
        Ok(Some(bits.stored(0..group.rows)))
    }

    /// Asks the operating system to prefetch a row group, and returns at once. This is a hint. A row group out of range
    /// is ignored.
    pub fn prefetch(&self, row_group: usize) {
        if let Some((map, range)) = self.mapped(row_group) {
            map.will_need(range);
        }
    }

    /// Releases the memory of a row group after reading, so that a pass over a large cache takes little memory. The row
    /// group can be read again, from the page cache or the disk.
    pub fn release(&self, row_group: usize) {
        if let Some((map, range)) = self.mapped(row_group) {
            map.done_with(range);
        }
    }

    /// Returns the map and the byte range of a row group.
    fn mapped(&self, row_group: usize) -> Option<(&Map, Range<usize>)> {
        let group = self.row_groups.get(row_group)?;
        let start = group.chunks.iter().map(|chunk| chunk.range().start).min()?;
        let end = group.chunks.iter().map(|chunk| chunk.range().end).max()?;
        Some((self.map.as_ref()?, start..end))
    }

    /// Returns a row group, after checking that the mapped file still has its length.
    fn group(&self, row_group: usize) -> Result<&RowGroup> {
        if let Some(map) = &self.map {
            map.check_length(&self.path)?;
        }
        self.row_groups.get(row_group).ok_or_else(|| {
            let what = format!("{}: row group", self.path.display());
            StoreError::invalid(what, format!("less than {}", self.row_groups()), row_group)
        })
    }

    fn read_group(&self, index: usize, group: &RowGroup, rows: &Range<usize>, into: &mut Vec<u8>) -> Result<()> {
        let row_bytes = self.layout.read_row_bytes();
        // Each element has at least one uncompressed byte in the file and at most four in memory, so the memory is at
        // most four times the file size.
        let elements = group.rows.checked_mul(self.layout.d_model).filter(|elements| *elements <= self.file.len());
        if elements.is_none() {
            let got = format!("{} in row group {index}", group.rows);
            return Err(StoreError::damaged(&self.path, "rows that fit the file", got));
        }
        let blocks = self.blocks(index, group)?;
        let covering = blocks.covering(rows);
        let bytes = covering.len() * row_bytes;
        if into.capacity() < bytes {
            // Freshly allocated zeroed memory needs no filling.
            *into = vec![0; bytes];
        } else {
            into.resize(bytes, 0);
        }
        blocks.decode(covering.clone(), into)?;
        into.truncate((rows.end - covering.start) * row_bytes);
        into.drain(..(rows.start - covering.start) * row_bytes);
        Ok(())
    }

    fn blocks<'a>(&'a self, index: usize, group: &'a RowGroup) -> Result<Blocks<'a>> {
        let pages = |chunk| Pages::find(&self.path, &self.file, index, chunk, group.rows);
        let columns = group.chunks.iter().map(pages).collect::<Result<_>>()?;
        let block_rows = self.block_rows.min(group.rows.max(1));
        Ok(Blocks { layout: &self.layout, columns, rows: group.rows, block_rows })
    }
}

impl RowGroup {
    fn check(
        path: &Path,
        index: usize,
        metadata: &RowGroupMetaData,
        checksums: Vec<Vec<u64>>,
        layout: &Layout,
        data_end: usize,
    ) -> Result<Self> {
        let rows = usize::try_from(metadata.num_rows()).unwrap_or(0);
        let columns = layout.columns();
        if metadata.num_columns() != columns.len() {
            let expected = format!("{} columns in row group {index}", columns.len());
            return Err(StoreError::damaged(path, expected, metadata.num_columns()));
        }
        let chunks = columns
            .into_iter()
            .zip(metadata.columns())
            .zip(checksums)
            .map(|((column, chunk), xxh3)| Chunk::check(path, index, column, chunk, rows, data_end, xxh3))
            .collect::<Result<_>>()?;
        Ok(Self { rows, chunks })
    }
}

fn total(rows: &[u64]) -> u64 {
    rows.iter().fold(0, |sum, rows| sum.saturating_add(*rows))
}

#[cfg(test)]
mod tests;
