//! Errors of data manifests and data files.

use std::io;
use std::path::{Path, PathBuf};

/// An error about the data. Every message names the file, what was expected, what was found and what to do.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The operating system refused an operation.
    #[error("{path}: cannot {action}: {cause}. {advice}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The operation, as a verb.
        action: &'static str,
        /// The operating system's error.
        cause: io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// The data manifest is not valid.
    #[error("{path}: not a data manifest: {problem}\ndata-manifests/README.md describes every key")]
    Manifest {
        /// The data manifest.
        path: PathBuf,
        /// What is wrong, with line and key.
        problem: String,
    },
    /// Data is given in place of a data manifest.
    #[error(
        "{path}: expected a data manifest, got data. --context N beside it writes a manifest for these files alone; data-manifests/README.md describes how to write one"
    )]
    NoManifest {
        /// The data.
        path: PathBuf,
    },
    /// A key of the data manifest has an invalid value.
    #[error("{path}: {key}: expected {expected}, got {got}")]
    Key {
        /// The data manifest.
        path: PathBuf,
        /// The key.
        key: String,
        /// The valid values.
        expected: String,
        /// The value found.
        got: String,
    },
    /// A file differs from the one in the data manifest.
    #[error(
        "{path}: expected sha256 {expected}, got {got}. This is another version of the file, or a damaged one: download it again, or correct the hash in the data manifest"
    )]
    Hash {
        /// The file.
        path: PathBuf,
        /// The hash in the data manifest.
        expected: String,
        /// The hash of the file's bytes.
        got: String,
    },
    /// A line of a JSON Lines file cannot be used.
    #[error("{path}, line {line}: {problem}")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1, in the decompressed text.
        line: u64,
        /// What is wrong.
        problem: LineProblem,
    },
    /// A row of a JSON or Parquet file cannot be used.
    #[error("{path}, row {row}: {problem}")]
    Row {
        /// The file.
        path: PathBuf,
        /// The row within the file, from 0.
        row: u64,
        /// What is wrong.
        problem: LineProblem,
    },
    /// A file is not a valid Parquet file.
    #[error(
        "{path}: expected a whole Parquet file, got an error: {problem}. Download or copy the file again, or, if it is whole, write it anew, for example with pandas"
    )]
    Parquet {
        /// The file.
        path: PathBuf,
        /// The parser's error.
        problem: String,
    },
    /// A file is not a valid Arrow stream.
    #[error("{path}: expected an Arrow stream, as save_to_disk of the datasets library writes it, got {problem}")]
    Arrow {
        /// The file.
        path: PathBuf,
        /// What was found.
        problem: String,
    },
    /// A Parquet file is compressed with a codec that is not read.
    #[error(
        "{path}: expected pages in ZSTD, SNAPPY, GZIP, LZ4 or without compression, got {codec}, which is not read. Write the file again, for example with pandas: read_parquet(…).to_parquet(…, compression=\"zstd\")"
    )]
    ParquetCodec {
        /// The file.
        path: PathBuf,
        /// The name of the codec.
        codec: String,
    },
    /// Patterns or a folder of the data manifest give no files, or more than one kind.
    #[error("{path}: expected {expected}, got {got}")]
    Files {
        /// The pattern or folder.
        path: PathBuf,
        /// What was expected.
        expected: String,
        /// What was found.
        got: String,
    },
    /// A rollouts file was made with another tokenizer or template.
    #[error(
        "{path}: {what}: expected {expected}, got {got}. Its token ids mean nothing here: make the rollouts again with `harvest rollouts`, or take the checkpoint that made them"
    )]
    Rollouts {
        /// The rollouts file.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// The requested value.
        expected: String,
        /// The recorded value.
        got: String,
    },
    /// The selection names a row that does not exist.
    #[error("{path}: selection.rows: expected rows among the {rows} that the files hold, from 0, got {row}")]
    NoSuchRow {
        /// The data manifest.
        path: PathBuf,
        /// The row.
        row: u64,
        /// Number of rows.
        rows: u64,
    },
    /// The data has too many rows for a full shuffle.
    #[error(
        "{path}: selection.shuffle_seed: expected fewer than {limit} rows, got {rows}. Use seed and shuffle_buffer, which hold few of them at a time"
    )]
    TooManyRows {
        /// The data manifest.
        path: PathBuf,
        /// Number of rows.
        rows: u64,
        /// Limit on the number of rows.
        limit: u32,
    },
    /// A text file cannot be used.
    #[error("{path}: {problem}")]
    Text {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: LineProblem,
    },
    /// A file is another one than its name says.
    #[error("{path}: expected {expected}, got {got}")]
    OtherFile {
        /// The file.
        path: PathBuf,
        /// What its name says.
        expected: &'static str,
        /// What it is and what to do.
        got: &'static str,
    },
    /// A compressed file is truncated or damaged, or not compressed.
    #[error("{path}: {}", compressed(compression, *by_name, *bytes, cause))]
    Compressed {
        /// The file.
        path: PathBuf,
        /// The name of the compression.
        compression: &'static str,
        /// Whether the name alone says so, and the first bytes do not.
        by_name: bool,
        /// Number of bytes decompressed.
        bytes: u64,
        /// The decoder's error.
        cause: io::Error,
    },
}

/// Advice where not even the first letter of a line is JSON.
fn plain_text(column: usize) -> &'static str {
    if column <= 1 { ". A file of plain text has a name that ends in .txt" } else { "" }
}

fn compressed(compression: &str, by_name: bool, bytes: u64, cause: &io::Error) -> String {
    if by_name {
        return format!(
            "expected {compression} data, as its name says, got other bytes ({cause}). Name it as what it is, without the last ending"
        );
    }
    format!(
        "its {compression} data is cut short or damaged after {bytes} decompressed bytes: {cause}. Download or copy the file again"
    )
}

/// What is wrong with a line, row or text.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineProblem {
    /// Too long to read into memory.
    #[error("longer than {limit} bytes, the most that one document may take. Cut it into several documents")]
    TooLong {
        /// The size limit in bytes.
        limit: usize,
    },
    /// A subset's name is too long.
    #[error(
        "expected the name of a subset in {field}, of at most {limit} bytes, got a longer text. Is it another field?"
    )]
    LongSubset {
        /// The field.
        field: String,
        /// The size limit in bytes.
        limit: usize,
    },
    /// Not UTF-8.
    #[error("expected UTF-8, got other bytes from byte {offset} on. Convert the file, for example with iconv")]
    NotUtf8 {
        /// Number of valid bytes before the error.
        offset: usize,
    },
    /// UTF-16, by its byte-order mark.
    #[error(
        "expected UTF-8, got UTF-16, as Windows PowerShell writes it. Convert the file, for example with iconv -f UTF-16 -t UTF-8"
    )]
    Utf16,
    /// A CSV record has another number of fields than the header.
    #[error("expected {expected} fields, as in the header, got {got}")]
    Columns {
        /// Fields of the header.
        expected: u64,
        /// Fields of the record.
        got: u64,
    },
    /// A field is not a list of messages.
    #[error(
        "expected messages in the field {field:?}, a list of {{\"role\", \"content\"}} or {{\"from\", \"value\"}}, got {got}. Name the right field as {key} in the data manifest"
    )]
    NotMessages {
        /// The field's path.
        field: String,
        /// What was found.
        got: String,
        /// The key of the data manifest that names the field.
        key: &'static str,
    },
    /// A message cannot be used.
    #[error("in the field {field:?}, message {number} (counted from 0): {problem}")]
    Message {
        /// The field's path.
        field: String,
        /// The message's index.
        number: usize,
        /// What was expected and what was found.
        problem: String,
    },
    /// There are tools beside messages.
    #[error("expected no {field}, got some, which belong to the prompt and are not read. Leave such rows out")]
    Tools {
        /// The field's path.
        field: String,
    },
    /// An attention mask does not belong to its token ids.
    #[error("expected {expected} in the field {field:?}, got {got}")]
    Mask {
        /// The field's path.
        field: String,
        /// What was expected.
        expected: String,
        /// What was found.
        got: String,
    },
    /// Not JSON.
    #[error("expected one JSON object, got an error at column {column}: {reason}{}", plain_text(*column))]
    NotJson {
        /// The column, from 1.
        column: usize,
        /// The parser's error.
        reason: String,
    },
    /// A JSON file is neither an array of objects nor a sequence of objects.
    #[error("expected {expected}, got '{got}'. A JSON file holds one array of objects, or objects one after another")]
    Between {
        /// What was expected.
        expected: &'static str,
        /// The byte found.
        got: String,
    },
    /// A JSON file ends within an array or object.
    #[error("the file ends in the middle of a JSON array or object. Download or copy it again")]
    EndsEarly,
    /// A column of a Parquet file has an unsupported type.
    #[error(
        "expected text, numbers, lists or structures in the column {column:?}, got the type {got}. Write the column as one of these"
    )]
    ColumnType {
        /// The column.
        column: String,
        /// The Arrow name of its type.
        got: String,
    },
    /// A field is not a list of token ids.
    #[error("expected a list of token ids in the field {field:?}, got {got}")]
    NotTokens {
        /// The field's path.
        field: String,
        /// The kind of value found.
        got: &'static str,
    },
    /// A rollout has an unknown finish reason.
    #[error("expected stop, length or context in the field {field:?}, got {got:?}")]
    FinishReason {
        /// The field's path.
        field: String,
        /// The value found.
        got: String,
    },
    /// A row is no object.
    #[error(
        "expected an object with the field {field:?}, got {got}. A file of JSON objects, one a line, is named .jsonl, and an array of them .json"
    )]
    NotObject {
        /// The field's path.
        field: String,
        /// The kind of value found.
        got: &'static str,
    },
    /// The object lacks a field.
    #[error("expected the field {field:?}, got {got}. Name the right field as {key} in the data manifest")]
    MissingField {
        /// The field's path.
        field: String,
        /// The object's fields, or the kind of value found instead of an object.
        got: String,
        /// The key of the data manifest that names the field.
        key: &'static str,
    },
    /// A field is not text.
    #[error("expected text in the field {field:?}, got {got}. Name the right field as {key} in the data manifest")]
    NotText {
        /// The field's path.
        field: String,
        /// The kind of value found.
        got: &'static str,
        /// The key of the data manifest that names the field.
        key: &'static str,
    },
    /// The subset field has too many distinct values.
    #[error(
        "more than {limit} subsets in the field {field:?}: expected a name that many documents share. Name another field as subset_field in the data manifest, or leave it out"
    )]
    TooManySubsets {
        /// The field's path.
        field: String,
        /// Limit on the number of subsets.
        limit: usize,
    },
}

impl DataError {
    /// Returns whether this is about one row, and reading can go on after it.
    pub(super) fn is_of_a_row(&self) -> bool {
        matches!(self, Self::Line { .. } | Self::Row { .. } | Self::Text { .. })
    }

    /// Wraps an I/O error at a data file.
    pub(super) fn file(path: &Path, action: &'static str, cause: io::Error) -> Self {
        let advice =
            "The data manifest names it; relative paths start at --data-root, by default the manifest's folder";
        Self::Io { path: path.to_owned(), action, cause, advice }
    }
}
