//! Reading an activation file through a memory map, row group by row group, each checked before it is handed out.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parquet::file::metadata::RowGroupMetaData;

use crate::activations::decoding::Blocks;
use crate::activations::footer::{check_schema, read_footer};
use crate::activations::layout::{Checksums, Layout};
use crate::activations::pages::{Chunk, Pages};
use crate::codec::Codec;
use crate::dtype::Dtype;
use crate::error::{Result, StoreError};
use crate::files::map::{Map, MappedFile};
use crate::tables::sequences::Sequence;

/// One site's activations over one shard. Shared between threads, it reads several row groups at a time.
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
    /// In the order of the codec's columns.
    chunks: Vec<Chunk>,
}

impl ActivationReader {
    /// Reads the footer of the file at `path`, whose bytes are `file`, and checks it against what it should hold.
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

    /// The number of row groups.
    pub fn row_groups(&self) -> usize {
        self.row_groups.len()
    }

    /// The rows of a row group; 0 for one that is not there.
    pub fn rows(&self, row_group: usize) -> usize {
        self.row_groups.get(row_group).map_or(0, |group| group.rows)
    }

    /// Elements of a row.
    pub fn d_model(&self) -> usize {
        self.layout.d_model
    }

    /// The type of the words that are read: the cache's, or f32 where the codec rounds.
    pub fn dtype(&self) -> Dtype {
        self.layout.read_dtype()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads a row group into `into`, whose old contents are dropped and whose memory is used again: little-endian words
    /// of [`Self::dtype`], `[rows, d_model]`, bit for bit as written unless the codec rounds.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where a checksum does not fit; `into` is then empty.
    pub fn read(&self, row_group: usize, into: &mut Vec<u8>) -> Result<()> {
        self.read_rows(row_group, 0..self.group(row_group)?.rows, into)
    }

    /// Reads some rows of a row group, as of one sequence, and checks them; as little else as the blocks of the file allow.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for rows that are not there. [`StoreError::Damaged`] where a checksum does not fit; `into`
    /// is then empty.
    pub fn read_rows(&self, row_group: usize, rows: Range<usize>, into: &mut Vec<u8>) -> Result<()> {
        let group = self.group(row_group)?;
        if rows.start > rows.end || rows.end > group.rows {
            let what = format!("{}: rows of row group {row_group}", self.path.display());
            return Err(StoreError::invalid(what, format!("within 0 to {}", group.rows), format!("{rows:?}")));
        }
        let read = self.read_group(row_group, group, &rows, into);
        if read.is_err() {
            into.clear();
        }
        read
    }

    /// Reads the rows of one sequence of the shard: [`Self::read_rows`] of where they are in their row group.
    pub fn read_sequence(&self, sequence: &Sequence, into: &mut Vec<u8>) -> Result<()> {
        let row_group = sequence.row_group as usize;
        let before: usize = self.row_groups.iter().take(row_group).map(|group| group.rows).sum();
        let Some(first) = usize::try_from(sequence.first_row).ok().and_then(|row| row.checked_sub(before)) else {
            let what = format!("{}: first row of sequence {}", self.path.display(), sequence.id);
            return Err(StoreError::invalid(what, format!("at least {before}"), sequence.first_row));
        };
        self.read_rows(row_group, first..first.saturating_add(sequence.length as usize), into)
    }

    /// A row group's words where they are in the file, without a copy: what [`Self::read`] would give. None for a codec
    /// whose words must be decoded first, which is any but `raw`.
    ///
    /// The bytes were checked when this returned. They stay readable as long as the view or a clone of it is kept, also
    /// after the reader is gone. They begin at any address, so words are to be taken from them as bytes. They are the
    /// file's own: a program that changes the file changes them unnoticed, and one that cuts it short ends this process,
    /// where `read` would have made a copy that nobody can change.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where the checksum does not fit.
    pub fn view(&self, row_group: usize) -> Result<Option<Bytes>> {
        let group = self.group(row_group)?;
        if self.layout.codec != Codec::Raw {
            return Ok(None);
        }
        let blocks = self.blocks(row_group, group)?;
        let [bits] = blocks.columns.as_slice() else {
            return Err(StoreError::damaged(&self.path, "one column", blocks.columns.len()));
        };
        blocks.check_stored(bits)?;
        Ok(Some(bits.stored(0..group.rows)))
    }

    /// Asks the system to bring a row group from the disk while the caller does something else, and returns at once. A
    /// wish that it may not grant; it is no error to name a row group that is not there, as after the last one.
    pub fn prefetch(&self, row_group: usize) {
        if let Some((map, range)) = self.mapped(row_group) {
            map.will_need(range);
        }
    }

    /// Gives up the memory of a row group that has been read, so that a whole cache can be gone through in little of it.
    /// The row group can be read again, from the system's cache or the disk.
    pub fn release(&self, row_group: usize) {
        if let Some((map, range)) = self.mapped(row_group) {
            map.done_with(range);
        }
    }

    /// Where in which map a row group is.
    fn mapped(&self, row_group: usize) -> Option<(&Map, Range<usize>)> {
        let group = self.row_groups.get(row_group)?;
        let start = group.chunks.iter().map(|chunk| chunk.range().start).min()?;
        let end = group.chunks.iter().map(|chunk| chunk.range().end).max()?;
        Some((self.map.as_ref()?, start..end))
    }

    fn group(&self, row_group: usize) -> Result<&RowGroup> {
        self.row_groups.get(row_group).ok_or_else(|| {
            let what = format!("{}: row group", self.path.display());
            StoreError::invalid(what, format!("less than {}", self.row_groups()), row_group)
        })
    }

    fn read_group(&self, index: usize, group: &RowGroup, rows: &Range<usize>, into: &mut Vec<u8>) -> Result<()> {
        let row_bytes = self.layout.read_row_bytes();
        // Each element has at least one byte in the file that is not compressed, and at most four in memory, so this is at
        // most four times the file's size.
        let elements = group.rows.checked_mul(self.layout.d_model).filter(|elements| *elements <= self.file.len());
        if elements.is_none() {
            let got = format!("{} in row group {index}", group.rows);
            return Err(StoreError::damaged(&self.path, "rows that fit the file", got));
        }
        let blocks = self.blocks(index, group)?;
        let covering = blocks.covering(rows);
        let bytes = covering.len() * row_bytes;
        if into.capacity() < bytes {
            // Memory that comes zeroed need not be filled once more.
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
mod tests {
    use parquet::basic::Compression;
    use parquet::file::metadata::{
        ColumnChunkMetaData, ColumnChunkMetaDataBuilder, ParquetMetaDataBuilder, ParquetMetaDataReader,
        ParquetMetaDataWriter,
    };

    use super::*;
    use crate::activations::footer::TAIL_BYTES;
    use crate::activations::writer::ActivationWriter;
    use crate::codec::encode::Buffers;
    use crate::files::hash::blake3_hex;

    const ROWS: [u64; 2] = [3, 2];

    fn layout(codec: Codec) -> Layout {
        Layout { site: "blocks.0.hook_resid_pre".parse().unwrap(), dtype: Dtype::Bf16, codec, d_model: 4 }
    }

    fn bits(row_group: usize) -> Vec<u8> {
        (0..ROWS[row_group] as u8 * 8).map(|byte| byte.wrapping_mul(37) ^ row_group as u8).collect()
    }

    fn file(codec: Codec) -> Vec<u8> {
        let mut writer = ActivationWriter::new(Path::new("a"), Vec::new(), layout(codec)).unwrap();
        for row_group in 0..ROWS.len() {
            writer.write(&bits(row_group).into(), &mut Buffers::default()).unwrap();
        }
        writer.finish().unwrap().0
    }

    /// Opens a file whose footer is taken to be as its hash says, as if whoever changed it had changed that too.
    fn open(file: Vec<u8>, codec: Codec) -> Result<ActivationReader> {
        let length = file
            .last_chunk::<TAIL_BYTES>()
            .map_or(0, |tail| u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]) as usize + TAIL_BYTES);
        let footer_blake3 = blake3_hex(&file[file.len().saturating_sub(length)..]);
        ActivationReader::open("a".into(), Bytes::from(file).into(), layout(codec), &footer_blake3, &ROWS)
    }

    /// The file with the chunk of one column of the second row group described in another way.
    fn with_chunk(
        codec: Codec,
        column: usize,
        change: impl FnOnce(ColumnChunkMetaDataBuilder) -> ColumnChunkMetaDataBuilder,
    ) -> Vec<u8> {
        let file = file(codec);
        let length = u32::from_le_bytes(file[file.len() - 8..][..4].try_into().unwrap()) as usize;
        let data_end = file.len() - TAIL_BYTES - length;
        let metadata = ParquetMetaDataReader::decode_metadata(&file[data_end..][..length]).unwrap();
        let mut groups = metadata.row_groups().to_vec();
        let mut chunks: Vec<ColumnChunkMetaData> = groups[1].columns().to_vec();
        chunks[column] = change(chunks[column].clone().into_builder()).build().unwrap();
        groups[1] = groups[1].clone().into_builder().set_column_metadata(chunks).build().unwrap();
        let changed = ParquetMetaDataBuilder::new_from_metadata(metadata).set_row_groups(groups).build();
        let mut file = file[..data_end].to_vec();
        let mut footer = Vec::new();
        ParquetMetaDataWriter::new(&mut footer, &changed).finish().unwrap();
        file.extend(footer);
        file
    }

    #[test]
    fn uncompressed_columns_are_one_view_of_the_file() {
        let reader = open(file(Codec::Raw), Codec::Raw).unwrap();
        let chunk = &reader.row_groups[1].chunks[0];
        let pages = Pages::find(&reader.path, &reader.file, 1, chunk, reader.rows(1)).unwrap();
        assert_eq!(pages.stored(0..2), bits(1));
        let view = reader.view(1).unwrap().unwrap();
        assert_eq!(view, bits(1));
        assert!(reader.file.as_ptr_range().contains(&view.as_ptr()), "a copy was made");
    }

    #[test]
    fn some_rows_are_what_they_are_among_all() {
        let (rows, d_model) = (3 * 256 + 5, 1024);
        let bits: Bytes = (0..rows * d_model * 2).map(|index| ((index * index) >> 9) as u8 & 0xbf).collect();
        for codec in [Codec::Planes, Codec::PlanesAt("9".parse().unwrap()), Codec::Raw, Codec::Int8] {
            let layout = Layout { d_model, ..layout(codec) };
            let mut writer = ActivationWriter::new(Path::new("a"), Vec::new(), layout.clone()).unwrap();
            writer.write(&bits, &mut Buffers::default()).unwrap();
            let (file, written) = writer.finish().unwrap();
            let file = Bytes::from(file).into();
            let reader =
                ActivationReader::open("a".into(), file, layout.clone(), &written.footer_blake3, &[rows as u64])
                    .unwrap();
            assert_eq!(reader.block_rows, 256, "so that there are several blocks");
            let (mut all, mut some) = (Vec::new(), Vec::new());
            reader.read(0, &mut all).unwrap();
            let row_bytes = layout.read_row_bytes();
            for range in [0..1, 255..257, 300..700, 512..768, 770..773, 5..5, 0..rows] {
                reader.read_rows(0, range.clone(), &mut some).unwrap();
                assert!(some == all[range.start * row_bytes..range.end * row_bytes], "{codec}: {range:?}");
            }
            let beyond = reader.read_rows(0, 770..774, &mut some).unwrap_err();
            assert!(beyond.to_string().contains("within 0 to 773"), "{beyond}");
        }
    }

    #[test]
    fn hostile_footers_are_errors() {
        type Change = fn(ColumnChunkMetaDataBuilder) -> ColumnChunkMetaDataBuilder;
        let changes: [Change; 11] = [
            |chunk| chunk.set_data_page_offset(-1),
            |chunk| chunk.set_data_page_offset(i64::MAX),
            |chunk| chunk.set_data_page_offset(0),
            |chunk| chunk.set_total_compressed_size(-1),
            // Half of the most, since the Parquet writer of this test adds them up.
            |chunk| chunk.set_total_compressed_size(i64::MAX / 2),
            |chunk| chunk.set_total_compressed_size(0),
            |chunk| chunk.set_total_compressed_size(3),
            |chunk| chunk.set_num_values(i64::MAX),
            |chunk| chunk.set_num_values(1),
            |chunk| chunk.set_dictionary_page_offset(Some(4)),
            |chunk| chunk.set_compression(Compression::SNAPPY),
        ];
        for codec in [Codec::Planes, Codec::Raw, Codec::Int8] {
            for (number, change) in changes.into_iter().enumerate() {
                let read = open(with_chunk(codec, 0, change), codec).and_then(|reader| {
                    let mut read = Vec::new();
                    reader.read(0, &mut read)?;
                    reader.read(1, &mut read)
                });
                let error = read.expect_err(&format!("change {number}"));
                assert!(matches!(error, StoreError::Damaged { .. }), "change {number}: {error}");
                assert!(error.to_string().contains("row group 1"), "change {number}: {error}");
            }
        }
    }

    #[test]
    fn a_file_of_another_layout_is_refused() {
        let planes = file(Codec::Planes);
        assert!(open(planes.clone(), Codec::Raw).unwrap_err().to_string().contains("required columns"));
        let footer_blake3 = "00".repeat(32);
        let error = ActivationReader::open(
            "a".into(),
            Bytes::from(planes.clone()).into(),
            layout(Codec::Planes),
            &footer_blake3,
            &ROWS,
        )
        .unwrap_err();
        assert!(error.to_string().contains("footer of BLAKE3 000"), "{error}");
        let whole = open(planes.clone(), Codec::Planes).unwrap();
        assert_eq!(whole.row_groups(), 2);
        let other = Layout { site: "blocks.1.hook_resid_pre".parse().unwrap(), ..layout(Codec::Planes) };
        let footer =
            planes.len() - 8 - u32::from_le_bytes(planes[planes.len() - 8..][..4].try_into().unwrap()) as usize;
        let footer_blake3 = blake3_hex(&planes[footer..]);
        let error =
            ActivationReader::open("a".into(), Bytes::from(planes).into(), other, &footer_blake3, &ROWS).unwrap_err();
        assert!(error.to_string().contains("hayloft.site"), "{error}");
    }

    #[test]
    fn no_flipped_bit_panics_or_changes_a_number_even_if_the_footer_is_trusted() {
        for codec in [Codec::Planes, Codec::Raw, Codec::Int8] {
            let whole = file(codec);
            let mut read = Vec::new();
            let reader = open(whole.clone(), codec).unwrap();
            let expected = [0, 1].map(|row_group| {
                reader.read(row_group, &mut read).unwrap();
                std::mem::take(&mut read)
            });
            for position in 0..whole.len() {
                for bit in 0..8 {
                    let mut flipped = whole.clone();
                    flipped[position] ^= 1 << bit;
                    let Ok(reader) = open(flipped, codec) else { continue };
                    for (row_group, expected) in expected.iter().enumerate() {
                        if reader.read(row_group, &mut read).is_ok() {
                            assert_eq!(&read, expected, "{codec}: bit {bit} at {position}");
                        }
                    }
                }
            }
        }
    }
}
