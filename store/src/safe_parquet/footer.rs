//! The footer of a Parquet file: decoded with bounded stack use, and checked against the file before it sizes an
//! allocation.

use std::thread;

use parquet::basic::Type as PhysicalType;
use parquet::errors::Result;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::ChunkReader;
use parquet::schema::types::Type;

use super::contained::contained;
use super::thrift::{SchemaSize, structure_bytes};
use super::wrong;

/// The metadata's length and the closing magic.
const TAIL_BYTES: u64 = 8;

/// Limit on the footer's size. A column of a row group takes about a hundred bytes.
const MOST_FOOTER_BYTES: u64 = 64 << 20;

/// Limit on the number of fields in a schema, including nested ones.
const MOST_FIELDS: u64 = 1 << 14;

/// Schemas with at most this many fields are decoded on the current stack, at any depth.
const FEW_FIELDS: u64 = 64;

/// Enough for [`MOST_FIELDS`] nested fields. The decoder recurses once per level.
const STACK_BYTES: usize = 256 << 20;

/// Limit on the nesting depth of columns.
const MOST_DEPTH: usize = 32;

/// Decoded bytes that any file may have.
const FREE_BYTES: u64 = 8 << 20;

/// Limit on decoded bytes per byte of a file. A text table needs less than ten. Repetitive columns take more, but never
/// all columns of a table.
const MOST_RATIO: u64 = 4096;

/// Reads the footer of a file.
pub(super) fn read<R: ChunkReader>(file: &R) -> Result<ParquetMetaData> {
    let not_parquet = || wrong(format!("expected a Parquet file, got {} bytes that are none", file.len()));
    let tail_start = file.len().checked_sub(TAIL_BYTES).ok_or_else(not_parquet)?;
    let tail = file.get_bytes(tail_start, TAIL_BYTES as usize)?;
    let Some((length, b"PAR1")) = tail.split_first_chunk::<4>() else { return Err(not_parquet()) };
    let length = u64::from(u32::from_le_bytes(*length));
    let start = tail_start.checked_sub(length).filter(|_| length <= MOST_FOOTER_BYTES).ok_or_else(|| {
        wrong(format!("expected a footer within the file, got one of {length} bytes in {}", file.len()))
    })?;
    let metadata = decode_footer(&file.get_bytes(start, length as usize)?)?;
    check(&metadata, start)?;
    Ok(metadata)
}

/// Decodes a footer's metadata. Its schema is at most [`MOST_DEPTH`] deep.
pub(crate) fn decode_footer(footer: &[u8]) -> Result<ParquetMetaData> {
    let SchemaSize { fields, children } =
        SchemaSize::of(footer).ok_or_else(|| wrong("expected a footer that begins with a version and a schema"))?;
    if fields > MOST_FIELDS {
        return Err(wrong(format!("expected a schema of at most {MOST_FIELDS} fields, got {fields}")));
    }
    // The decoder reserves memory for the children that a field declares.
    let expected = fields.saturating_sub(1);
    if children != expected {
        return Err(wrong(format!("expected fields with {expected} children in all, got {children}")));
    }
    // The decoder skips a list of a field that it does not know in as many steps as the list declares.
    if structure_bytes(footer).is_none() {
        return Err(wrong("expected a footer, got bytes that are none"));
    }
    let decode = || {
        let metadata = contained(|| ParquetMetaDataReader::decode_metadata(footer))?;
        let depth = depth(metadata.file_metadata().schema());
        if depth > MOST_DEPTH {
            return Err(wrong(format!("expected columns at most {MOST_DEPTH} deep, got {depth}")));
        }
        Ok(metadata)
    };
    if fields <= FEW_FIELDS {
        return decode();
    }
    thread::scope(|scope| {
        let decoding = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, decode)?;
        decoding.join().unwrap_or_else(|_| Err(wrong("expected a footer, got bytes that are none")))
    })
}

fn depth(field: &Type) -> usize {
    if field.is_group() { 1 + field.get_fields().iter().map(|field| depth(field)).max().unwrap_or(0) } else { 0 }
}

/// Checks that every chunk lies before the footer, which starts at `data_end`, and that their declared sizes are
/// possible for the file.
fn check(metadata: &ParquetMetaData, data_end: u64) -> Result<()> {
    let mut rows: i64 = 0;
    let mut decoded: u64 = 0;
    for (index, group) in metadata.row_groups().iter().enumerate() {
        let sum = Some(group.num_rows()).filter(|rows| *rows >= 0).and_then(|more| rows.checked_add(more));
        rows = sum.ok_or_else(|| {
            wrong(format!("expected a number of rows in row group {index}, got {}", group.num_rows()))
        })?;
        for chunk in group.columns() {
            check_place(chunk, data_end)
                .ok_or_else(|| wrong(format!("expected a column within the file, got another in row group {index}")))?;
            decoded = decoded.saturating_add((chunk.num_values() as u64).saturating_mul(width(chunk)));
        }
    }
    let said = metadata.file_metadata().num_rows();
    if said != rows {
        return Err(wrong(format!("expected {said} rows in the row groups, got {rows}")));
    }
    let most = data_end.saturating_mul(MOST_RATIO).saturating_add(FREE_BYTES);
    if decoded > most {
        return Err(wrong(format!("expected columns of at most {most} bytes in {data_end}, got {decoded}")));
    }
    Ok(())
}

fn check_place(chunk: &ColumnChunkMetaData, data_end: u64) -> Option<()> {
    let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
    let end = u64::try_from(start).ok()?.checked_add(u64::try_from(chunk.compressed_size()).ok()?)?;
    (end <= data_end && chunk.data_page_offset() >= 0 && chunk.num_values() >= 0).then_some(())
}

/// The minimal decoded size of a value in bytes.
pub(super) fn width(chunk: &ColumnChunkMetaData) -> u64 {
    match chunk.column_type() {
        PhysicalType::BOOLEAN => 1,
        PhysicalType::INT32 | PhysicalType::FLOAT | PhysicalType::BYTE_ARRAY => 4,
        PhysicalType::INT64 | PhysicalType::DOUBLE => 8,
        PhysicalType::INT96 => 12,
        // A negative length is invalid, and rejected when the column is read.
        PhysicalType::FIXED_LEN_BYTE_ARRAY => u64::try_from(chunk.column_descr().type_length()).unwrap_or(0).max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A footer without rows whose schema is a number inside `depth` nested groups.
    fn nested(depth: usize) -> Vec<u8> {
        let mut footer = vec![0x15, 2, 0x19, 0xfc];
        let mut count = depth + 2;
        while count >= 0x80 {
            footer.push(count as u8 | 0x80);
            count >>= 7;
        }
        footer.push(count as u8);
        // The root: a name, and one child.
        footer.extend([0x48, 1, b'r', 0x15, 2, 0]);
        for _ in 0..depth {
            // Required, a name, and one child.
            footer.extend([0x35, 0, 0x18, 1, b'g', 0x15, 2, 0]);
        }
        // A required number.
        footer.extend([0x15, 2, 0x25, 0, 0x18, 1, b'n', 0]);
        // No rows, and no row groups.
        footer.extend([0x16, 0, 0x19, 0x0c, 0]);
        footer
    }

    #[test]
    fn schemas_are_decoded_up_to_a_depth_and_refused_beyond_it() {
        decode_footer(&nested(2)).unwrap();
        for (depth, words) in [(60, "32 deep, got 61"), (16_000, "32 deep, got 16001"), (1_000_000, "16384 fields")] {
            let error = decode_footer(&nested(depth)).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn fields_that_declare_children_that_do_not_exist_are_refused() {
        let mut footer = nested(2);
        let root = footer.windows(2).position(|pair| pair == [b'r', 0x15]).unwrap() + 2;
        // A million, in zigzag form.
        footer.splice(root..=root, [0x80, 0x89, 0x7a]);
        let error = decode_footer(&footer).unwrap_err().to_string();
        assert!(error.contains("expected fields with 3 children in all, got 1000002"), "{error}");
    }

    #[test]
    fn what_begins_in_another_way_is_refused() {
        for footer in [&b""[..], &[0x15], &[0x15, 2, 0x19], &[0x29, 0xfc, 1], &[0x15, 2, 0x19, 0xf8, 1], &[0; 9]] {
            assert!(decode_footer(footer).is_err());
        }
    }
}
