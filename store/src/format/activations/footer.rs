//! Reading of an activation file's footer: located, bounded in size, verified against its hash, then parsed.

use std::path::Path;

use bytes::Bytes;
use parquet::file::metadata::ParquetMetaData;

use crate::error::{Result, StoreError, joined};
use crate::format::activations::layout::Layout;
use crate::fs::hash::blake3_hex;
use crate::safe_parquet::decode_footer;

/// Size of the metadata length and the closing magic.
pub(crate) const TAIL_BYTES: usize = 8;

/// Maximum size of a footer. A row group takes about 250 bytes.
const MAX_FOOTER_BYTES: usize = 64 << 20;

/// Returns the metadata of a file and the offset where its data ends. The footer must have the expected hash.
pub(crate) fn read_footer(path: &Path, file: &Bytes, footer_blake3: &str) -> Result<(ParquetMetaData, usize)> {
    let not_parquet = || StoreError::damaged(path, "a Parquet file", format!("{} bytes that are none", file.len()));
    let tail_start = file.len().checked_sub(TAIL_BYTES).ok_or_else(not_parquet)?;
    let Some((length, b"PAR1")) = file[tail_start..].split_first_chunk::<4>() else {
        return Err(not_parquet());
    };
    let length = u32::from_le_bytes(*length) as usize;
    let data_end = tail_start.checked_sub(length).filter(|_| length <= MAX_FOOTER_BYTES).ok_or_else(|| {
        StoreError::damaged(path, "a footer within the file", format!("{length} bytes of it in {}", file.len()))
    })?;
    let got = blake3_hex(&file[data_end..]);
    if got != footer_blake3 {
        return Err(StoreError::damaged(path, format!("footer of BLAKE3 {footer_blake3}"), got));
    }
    let metadata = decode_footer(&file[data_end..tail_start])
        .map_err(|error| StoreError::damaged(path, "Parquet metadata", error))?;
    Ok((metadata, data_end))
}

/// Checks that the columns are those of the layout.
pub(crate) fn check_schema(path: &Path, metadata: &ParquetMetaData, layout: &Layout) -> Result<()> {
    let schema = metadata.file_metadata().schema_descr();
    let got: Vec<(&str, i32, i16)> = schema
        .columns()
        .iter()
        .map(|column| (column.name(), column.type_length(), column.max_def_level() + column.max_rep_level()))
        .collect();
    let columns = layout.columns();
    let expected: Vec<(&str, i32, i16)> =
        columns.iter().map(|column| (column.name, i32::try_from(column.width).unwrap_or(i32::MAX), 0)).collect();
    if got != expected {
        let in_words = |columns: &[(&str, i32, i16)]| {
            joined(columns.iter().map(|(name, width, levels)| format!("{name} ({width} bytes, {levels} levels)")))
        };
        return Err(StoreError::damaged(path, format!("required columns {}", in_words(&expected)), in_words(&got)));
    }
    Ok(())
}
