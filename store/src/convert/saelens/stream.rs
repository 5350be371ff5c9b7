//! Reads a memory-mapped Arrow stream file message by message. The file is untrusted: the layout that a message
//! declares is checked before it is decoded.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::read_record_batch;
use arrow_ipc::{Message, MessageHeader, root_as_message};
use arrow_schema::{DataType, SchemaRef};
use bytes::Bytes;

use super::features::Features;
use crate::error::{Result, StoreError, joined};
use crate::fs::map::{Map, MappedFile};

/// Precedes the length of a message, except in old files.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// One file of a data set.
#[derive(Debug)]
pub(super) struct Stream {
    path: PathBuf,
    bytes: Bytes,
    map: Option<Map>,
    at: usize,
    schema: SchemaRef,
}

impl Stream {
    /// Reads the schema of the mapped file at `path` and checks it against the data set's features.
    pub(super) fn open(path: &Path, file: MappedFile, features: &Features) -> Result<Self> {
        let MappedFile { bytes, map } = file;
        let mut at = 0;
        let (metadata, _) = next_message(&bytes, &mut at)
            .and_then(|message| message.ok_or_else(|| "an empty file".to_owned()))
            .map_err(|got| malformed(path, "an Arrow stream", got))?;
        let schema = schema_of(&metadata).map_err(|got| malformed(path, "a schema first", got))?;
        if !features.fit(&schema) {
            let columns = schema.fields().iter().map(|field| format!("{}: {}", field.name(), field.data_type()));
            let got = joined(columns);
            return Err(malformed(path, "the columns that dataset_info.json describes", got));
        }
        Ok(Self { path: path.to_owned(), bytes, map, at, schema })
    }

    /// Returns the next record batch; `None` after the last.
    pub(super) fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let next = next_message(&self.bytes, &mut self.at);
        let Some((metadata, body)) = next.map_err(|got| malformed(&self.path, "a whole message", got))? else {
            return Ok(None);
        };
        let batch = decode(&metadata, &Buffer::from(body), Arc::clone(&self.schema));
        batch.map(Some).map_err(|got| malformed(&self.path, "a batch of rows without nulls", got))
    }
}

impl Stream {
    /// The map and offset of a batch's buffer. `None` if the decoder copied it.
    pub(super) fn place(&self, buffer: &Buffer) -> Option<(Map, usize)> {
        let offset = (buffer.as_ptr() as usize).checked_sub(self.bytes.as_ptr() as usize)?;
        let inside = offset.checked_add(buffer.len()).is_some_and(|end| end <= self.bytes.len());
        self.map.clone().filter(|_| inside).map(|map| (map, offset))
    }
}

/// The error for a file that SAELens does not write.
pub(super) fn malformed(path: &Path, expected: &str, got: String) -> StoreError {
    StoreError::Malformed { path: path.to_owned(), expected: expected.to_owned(), got }
}

/// Returns the metadata and the body of the message at `at` and advances `at`. `None` at the end.
fn next_message(bytes: &Bytes, at: &mut usize) -> Result<Option<(Bytes, Bytes)>, String> {
    let mut rest = bytes.slice(*at..);
    // The end marker may be missing: `datasets` reads such files too.
    if rest.is_empty() {
        return Ok(None);
    }
    let mut take = |length: usize, what: &str| {
        if rest.len() < length {
            return Err(format!("{what} of {length} bytes, where {} are left", rest.len()));
        }
        Ok(rest.split_to(length))
    };
    let mut word = take(4, "a length")?;
    if word[..] == CONTINUATION {
        word = take(4, "a length")?;
    }
    let length = u32::from_le_bytes([word[0], word[1], word[2], word[3]]) as usize;
    if length == 0 {
        *at = bytes.len();
        return Ok(None);
    }
    let metadata = take(length, "metadata")?;
    let body_length = message(&metadata)?.bodyLength();
    let body_length = usize::try_from(body_length).map_err(|_| format!("a body of {body_length} bytes"))?;
    let body = take(body_length, "a body")?;
    *at = bytes.len() - rest.len();
    Ok(Some((metadata, body)))
}

fn message(metadata: &[u8]) -> Result<Message<'_>, String> {
    root_as_message(metadata).map_err(|error| error.to_string())
}

fn schema_of(metadata: &[u8]) -> Result<SchemaRef, String> {
    let schema = message(metadata)?.header_as_schema().ok_or("another message")?;
    try_fb_to_schema(schema).map(Arc::new).map_err(|error| error.to_string())
}

/// Decodes a batch after checking that all its lengths and offsets lie in its body. The decoder does not check them.
fn decode(metadata: &[u8], body: &Buffer, schema: SchemaRef) -> Result<RecordBatch, String> {
    let message = message(metadata)?;
    if message.header_type() != MessageHeader::RecordBatch {
        return Err(format!("a message of type {}", message.header_type().variant_name().unwrap_or("unknown")));
    }
    let batch = message.header_as_record_batch().ok_or("no batch")?;
    if batch.compression().is_some() {
        return Err("a compressed batch, which datasets does not write".to_owned());
    }
    let size = body.len() as i64;
    // An element of any column takes at least one byte, so no length exceeds the body's.
    let mut lengths = batch.nodes().into_iter().flatten().map(|node| (node.length(), node.null_count()));
    let rows = std::iter::once((batch.length(), 0));
    if let Some((length, nulls)) =
        lengths.by_ref().chain(rows).find(|(length, nulls)| !(0..=size).contains(length) || *nulls != 0)
    {
        return Err(format!("a column of {length} elements, {nulls} of them null, in a body of {size} bytes"));
    }
    let mut buffers = batch.buffers().into_iter().flatten().map(|buffer| (buffer.offset(), buffer.length()));
    for field in schema.fields() {
        check_buffers(field.data_type(), size, &mut buffers)?;
    }
    read_record_batch(body, batch, schema, &HashMap::new(), None, &message.version()).map_err(|error| error.to_string())
}

/// Takes a column's buffers and checks that each lies in a body of `size` bytes and holds whole elements.
fn check_buffers(
    data_type: &DataType,
    size: i64,
    buffers: &mut impl Iterator<Item = (i64, i64)>,
) -> Result<(), String> {
    let mut check = |width: i64| {
        let (offset, length) = buffers.next().ok_or("too few buffers")?;
        let inside = offset >= 0 && length >= 0 && offset.checked_add(length).is_some_and(|end| end <= size);
        if inside && length % width == 0 {
            return Ok(());
        }
        Err(format!("{length} bytes at {offset} of elements of {width}, in a body of {size}"))
    };
    // The validity bitmap comes first.
    check(1)?;
    match data_type {
        DataType::List(item) => {
            check(size_of::<i32>() as i64)?;
            check_buffers(item.data_type(), size, buffers)
        }
        DataType::FixedSizeList(item, _) => check_buffers(item.data_type(), size, buffers),
        leaf => check(leaf.primitive_width().ok_or_else(|| format!("a column of {leaf}"))? as i64),
    }
}
