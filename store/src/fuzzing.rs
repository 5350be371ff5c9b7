//! Entry points for fuzzing the file readers. Not part of the public API.
//!
//! Hashes are recomputed first, because a forged file has a forged hash too.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use hayloft_runtime::Dtype;
use parquet::file::metadata::{KeyValue, ParquetMetaData};

use crate::codec::Codec;
use crate::error::Result;
use crate::format::activations::footer::TAIL_BYTES;
use crate::format::activations::layout::Layout;
use crate::format::activations::reader::ActivationReader;
use crate::format::records::KeptPredictions;
use crate::format::site::SiteName;
use crate::format::tables::prediction_columns;
use crate::format::tables::predictions::Predictions;
use crate::format::tables::sequences::{self, Sequence};
use crate::format::tables::tokens::{self, Tokens};
use crate::fs::hash::blake3_hex;
use crate::fs::json;
use crate::safe_parquet::decode_footer;

/// The path used in error messages.
const PATH: &str = "input";

/// Returns the contents of a JSON file with its checksum corrected.
pub fn sealed(bytes: &[u8]) -> Vec<u8> {
    json::sealed_again(bytes)
}

/// Returns the BLAKE3 in lower-case hexadecimal.
pub fn blake3(bytes: &[u8]) -> String {
    blake3_hex(bytes)
}

/// Reads `sequences.parquet` over `rows` rows, with the number of sequences in its footer.
pub fn sequences(bytes: Bytes, rows: u64) -> Result<Vec<Sequence>> {
    let count = rows_said(&bytes);
    sequences::read(Path::new(PATH), bytes, count, rows)
}

/// Reads `tokens.parquet` for `sequences`, with the number of rows in its footer.
pub fn tokens(bytes: Bytes, sequences: &[Sequence]) -> Result<Tokens> {
    let rows = rows_said(&bytes);
    tokens::read(Path::new(PATH), bytes, rows, sequences)
}

/// Reads the predictions in `tokens.parquet`.
pub fn predictions(bytes: Bytes, kept: KeptPredictions) -> Result<Predictions> {
    let rows = rows_said(&bytes);
    prediction_columns::read(Path::new(PATH), bytes, rows, kept)
}

/// Reads a site's norms in `tokens.parquet`.
pub fn norms(bytes: Bytes, site: &SiteName) -> Result<Vec<f32>> {
    let rows = rows_said(&bytes);
    prediction_columns::read_norms(Path::new(PATH), bytes, rows, site)
}

/// Opens an activation file with the layout in its footer.
pub fn activations(bytes: Bytes) -> Result<ActivationReader> {
    let footer = footer_start(&bytes);
    let footer_blake3 = blake3_hex(&bytes[footer..]);
    let metadata = metadata(&bytes);
    let pairs = metadata.as_ref().and_then(|metadata| metadata.file_metadata().key_value_metadata());
    let layout = layout(pairs.map_or(&[], Vec::as_slice));
    let groups = metadata.iter().flat_map(ParquetMetaData::row_groups);
    let rows: Vec<u64> = groups.map(|group| u64::try_from(group.num_rows()).unwrap_or(0)).collect();
    ActivationReader::open(PathBuf::from(PATH), bytes.into(), layout, &footer_blake3, &rows)
}

/// Returns the layout in a footer's key-value pairs, with defaults for missing ones.
fn layout(pairs: &[KeyValue]) -> Layout {
    let said = |key: &str| pairs.iter().find(|pair| pair.key == key)?.value.as_deref();
    Layout {
        site: said("hayloft.site").unwrap_or_default().parse().unwrap_or_else(|_| some_site()),
        dtype: said("hayloft.dtype").unwrap_or_default().parse().unwrap_or(Dtype::Bf16),
        codec: said("hayloft.codec").unwrap_or_default().parse().unwrap_or(Codec::RAW),
        // Outside the fuzzer, a shard's record has a sum per element, and its size bounds `d_model`.
        d_model: said("hayloft.d_model")
            .and_then(|text| text.parse().ok())
            .filter(|d_model| *d_model < 1 << 16)
            .unwrap_or(1),
    }
}

fn some_site() -> SiteName {
    "blocks.0.hook_resid_pre".parse().expect("a site's name")
}

/// Returns the start of the footer according to the end of the file.
fn footer_start(bytes: &[u8]) -> usize {
    let tail = bytes.last_chunk::<TAIL_BYTES>().and_then(|tail| tail.first_chunk::<4>());
    let length = tail.map_or(0, |length| u32::from_le_bytes(*length) as usize);
    bytes.len().saturating_sub(length + TAIL_BYTES)
}

fn metadata(bytes: &Bytes) -> Option<ParquetMetaData> {
    let tail = bytes.len().checked_sub(TAIL_BYTES)?;
    decode_footer(&bytes[footer_start(bytes)..tail]).ok()
}

fn rows_said(bytes: &Bytes) -> u64 {
    metadata(bytes).and_then(|metadata| u64::try_from(metadata.file_metadata().num_rows()).ok()).unwrap_or(0)
}
