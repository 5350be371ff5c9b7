//! Reads the rows of an Arrow stream, as `save_to_disk` of the `datasets` library writes it, batch by batch.
//!
//! The file is untrusted: a message is checked before it is decoded, and takes no more memory than the file has bytes.

use std::collections::HashMap;
use std::io::{BufRead, Read};
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::read_record_batch;
use arrow_ipc::{FieldNode, Message, MessageHeader, root_as_message};
use arrow_schema::SchemaRef;
use hayloft_store::FileRecord;
use serde_json::Value;

use super::fields::Fields;
use super::hashing::DataReader;
use super::parquet_rows::{BatchRows, ReadColumns};
use super::{DataError, DataFile, FieldPath, LineProblem};

/// Precedes the length of a message, except in old files.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// How a file begins that is a stream with an index behind it.
const FILE_MAGIC: &[u8] = b"ARROW1\0\0";

/// Reads an Arrow stream, which is hashed while it is read.
pub(super) struct ArrowRows {
    path: PathBuf,
    reader: DataReader,
    schema: SchemaRef,
    /// The columns to read; `None` for all, because a requested one is missing.
    wanted: Option<Vec<usize>>,
    rows: BatchRows,
}

impl ArrowRows {
    /// Positions before the first row. Only the columns of `fields` are read. If a required one is missing, all columns
    /// are read, so that a message can name them.
    pub(super) fn open(file: &DataFile, fields: &Fields) -> Result<Self, DataError> {
        let mut reader = DataReader::open_bytes(file)?;
        let head = reader.fill_buf().map_err(|cause| DataError::file(&file.path, "read", cause))?;
        file.refuse_other(head)?;
        if head.starts_with(FILE_MAGIC) {
            reader.consume(FILE_MAGIC.len());
        }
        let wrong = |problem| DataError::Arrow { path: file.path.clone(), problem };
        let (metadata, _) = next_message(&mut reader)
            .and_then(|message| message.ok_or_else(|| "an empty file".to_owned()))
            .map_err(wrong)?;
        let schema = contained(|| schema_of(&metadata)).map_err(wrong)?;
        let position = |field: &FieldPath| schema.index_of(field.root()).ok();
        let required: Option<Vec<usize>> = fields.required.iter().map(position).collect();
        let wanted = required.map(|mut wanted| {
            wanted.extend(fields.optional.iter().filter_map(position));
            wanted.sort_unstable();
            wanted.dedup();
            wanted
        });
        let columns = if wanted.is_some() { ReadColumns::Wanted } else { ReadColumns::All };
        Ok(Self { path: file.path.clone(), reader, schema, wanted, rows: BatchRows::of(columns) })
    }

    /// Hashes the rest of the file, and returns the plan's record of it.
    pub(super) fn finish(self, file: &DataFile) -> Result<FileRecord, DataError> {
        self.reader.finish(file)
    }

    /// Returns the next row as an object of its columns.
    pub(super) fn next(&mut self) -> Result<Option<Result<Value, LineProblem>>, DataError> {
        let Self { path, reader, schema, wanted, rows } = self;
        rows.next(|| {
            let wrong = |problem| DataError::Arrow { path: path.clone(), problem };
            let Some((metadata, body)) = next_message(reader).map_err(wrong)? else { return Ok(None) };
            let batch = contained(|| decode(&metadata, body, Arc::clone(schema), wanted.as_deref()));
            batch.map(Some).map_err(wrong)
        })
    }
}

/// The metadata and the body of a message.
type Parts = (Vec<u8>, Vec<u8>);

/// Reads the next message; `None` at the end.
fn next_message(reader: &mut DataReader) -> Result<Option<Parts>, String> {
    let ends = reader.fill_buf().map_err(|error| error.to_string())?.is_empty();
    // The end marker may be missing: `datasets` reads such files too.
    if ends {
        return Ok(None);
    }
    let mut word = take(reader, 4)?;
    if word == CONTINUATION {
        word = take(reader, 4)?;
    }
    let length = word.iter().rev().fold(0, |length, byte| (length << 8) | u64::from(*byte));
    if length == 0 {
        return Ok(None);
    }
    let metadata = take(reader, length)?;
    let body = contained(|| Ok(message(&metadata)?.bodyLength()))?;
    let body = u64::try_from(body).map_err(|_| format!("a body of {body} bytes"))?;
    let body = take(reader, body)?;
    Ok(Some((metadata, body)))
}

/// Reads so many bytes. Memory grows as they come.
fn take(reader: &mut DataReader, length: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    reader.take(length).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if (bytes.len() as u64) < length {
        return Err(format!("a message that ends after {} of {length} bytes", bytes.len()));
    }
    Ok(bytes)
}

fn message(metadata: &[u8]) -> Result<Message<'_>, String> {
    root_as_message(metadata).map_err(|error| error.to_string())
}

fn schema_of(metadata: &[u8]) -> Result<SchemaRef, String> {
    let schema = message(metadata)?.header_as_schema().ok_or("no schema at its beginning")?;
    try_fb_to_schema(schema).map(Arc::new).map_err(|error| error.to_string())
}

/// Decodes the wanted columns of a batch, whose buffers must lie in its body; the decoder checks what is in them.
fn decode(metadata: &[u8], body: Vec<u8>, schema: SchemaRef, wanted: Option<&[usize]>) -> Result<RecordBatch, String> {
    let message = message(metadata)?;
    if message.header_type() != MessageHeader::RecordBatch {
        let name = message.header_type().variant_name().unwrap_or("unknown");
        return Err(format!("a message of type {name}. Save the dataset without columns in dictionaries"));
    }
    let batch = message.header_as_record_batch().ok_or("no batch")?;
    if batch.compression().is_some() {
        return Err("compressed batches, which datasets does not write. Save it anew, uncompressed".to_owned());
    }
    let size = body.len() as i64;
    let is_inside =
        |start: i64, length: i64| start >= 0 && length >= 0 && start.checked_add(length).is_some_and(|end| end <= size);
    if batch.buffers().into_iter().flatten().any(|buffer| !is_inside(buffer.offset(), buffer.length())) {
        return Err(format!("columns beyond a body of {size} bytes"));
    }
    // An element takes at least a bit of a buffer.
    let most = size.saturating_mul(8);
    let nodes = batch.nodes().into_iter().flatten().map(FieldNode::length);
    if let Some(length) = nodes.chain([batch.length()]).find(|length| !(0..=most).contains(length)) {
        return Err(format!("a column of {length} elements in a body of {size} bytes"));
    }
    let version = message.version();
    read_record_batch(&Buffer::from(body), batch, schema, &HashMap::new(), wanted, &version)
        .map_err(|error| error.to_string())
}

/// Turns a panic of the decoder, whose input is untrusted, into an error. What `work` captures is not used after it.
fn contained<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err("bytes that no writer of Arrow writes".to_owned()))
}
