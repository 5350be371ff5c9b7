use parquet::basic::Compression;
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnChunkMetaDataBuilder, ParquetMetaDataBuilder, ParquetMetaDataReader,
    ParquetMetaDataWriter,
};

use super::*;
use crate::codec::Codec;
use crate::codec::encoded::Buffers;
use crate::format::activations::footer::TAIL_BYTES;
use crate::format::activations::writer::ActivationWriter;
use crate::fs::hash::blake3_hex;

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

/// Opens a file whose footer is trusted, as if an attacker had updated its hash.
fn open(file: Vec<u8>, codec: Codec) -> Result<ActivationReader> {
    let length = file
        .last_chunk::<TAIL_BYTES>()
        .map_or(0, |tail| u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]) as usize + TAIL_BYTES);
    let footer_blake3 = blake3_hex(&file[file.len().saturating_sub(length)..]);
    ActivationReader::open("a".into(), Bytes::from(file).into(), layout(codec), &footer_blake3, &ROWS)
}

/// Returns the file with changed metadata for one column chunk of the second row group.
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
    let reader = open(file(Codec::RAW), Codec::RAW).unwrap();
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
    for codec in [Codec::PLANES, "planes:9".parse().unwrap(), Codec::RAW, Codec::INT8] {
        let layout = Layout { d_model, ..layout(codec) };
        let mut writer = ActivationWriter::new(Path::new("a"), Vec::new(), layout.clone()).unwrap();
        writer.write(&bits, &mut Buffers::default()).unwrap();
        let (file, written) = writer.finish().unwrap();
        let file = Bytes::from(file).into();
        let reader =
            ActivationReader::open("a".into(), file, layout.clone(), &written.footer_blake3, &[rows as u64]).unwrap();
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
        // Half the maximum, because the Parquet writer of this test adds the sizes up.
        |chunk| chunk.set_total_compressed_size(i64::MAX / 2),
        |chunk| chunk.set_total_compressed_size(0),
        |chunk| chunk.set_total_compressed_size(3),
        |chunk| chunk.set_num_values(i64::MAX),
        |chunk| chunk.set_num_values(1),
        |chunk| chunk.set_dictionary_page_offset(Some(4)),
        |chunk| chunk.set_compression(Compression::SNAPPY),
    ];
    for codec in [Codec::PLANES, Codec::RAW, Codec::INT8] {
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
    let planes = file(Codec::PLANES);
    assert!(open(planes.clone(), Codec::RAW).unwrap_err().to_string().contains("required columns"));
    let footer_blake3 = "00".repeat(32);
    let error = ActivationReader::open(
        "a".into(),
        Bytes::from(planes.clone()).into(),
        layout(Codec::PLANES),
        &footer_blake3,
        &ROWS,
    )
    .unwrap_err();
    assert!(error.to_string().contains("footer of BLAKE3 000"), "{error}");
    let whole = open(planes.clone(), Codec::PLANES).unwrap();
    assert_eq!(whole.row_groups(), 2);
    let other = Layout { site: "blocks.1.hook_resid_pre".parse().unwrap(), ..layout(Codec::PLANES) };
    let footer = planes.len() - 8 - u32::from_le_bytes(planes[planes.len() - 8..][..4].try_into().unwrap()) as usize;
    let footer_blake3 = blake3_hex(&planes[footer..]);
    let error =
        ActivationReader::open("a".into(), Bytes::from(planes).into(), other, &footer_blake3, &ROWS).unwrap_err();
    assert!(error.to_string().contains("hayloft.site"), "{error}");
}

#[test]
fn no_flipped_bit_panics_or_changes_a_number_even_if_the_footer_is_trusted() {
    for codec in [Codec::PLANES, Codec::RAW, Codec::INT8] {
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
