//! Everything that can be wrong with a data manifest or with the files it names.

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
        /// What was being done, as a verb.
        action: &'static str,
        /// What the operating system said.
        cause: io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// The data manifest is not the TOML that was expected.
    #[error("{path}: not a data manifest: {problem}\ndata-manifests/README.md describes every key")]
    Manifest {
        /// The data manifest.
        path: PathBuf,
        /// What is wrong, with line and key.
        problem: String,
    },
    /// A key of the data manifest has a value that it cannot have.
    #[error("{path}: {key}: expected {expected}, got {got}")]
    Key {
        /// The data manifest.
        path: PathBuf,
        /// The key.
        key: String,
        /// What it may be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// A file is not the one that the data manifest means.
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
        /// The line, from 1; of the decompressed text where the file is compressed.
        line: u64,
        /// What is wrong with it.
        problem: LineProblem,
    },
    /// A row of a JSON or Parquet file cannot be used.
    #[error("{path}, row {row}: {problem}")]
    Row {
        /// The file.
        path: PathBuf,
        /// The row within the file, from 0.
        row: u64,
        /// What is wrong with it.
        problem: LineProblem,
    },
    /// A file is no Parquet file, or is damaged.
    #[error("{path}: expected a whole Parquet file, got an error: {problem}. Download or copy the file again")]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        problem: String,
    },
    /// A rollouts file does not fit what is asked for.
    #[error(
        "{path}: {what}: expected {expected}, got {got}. Its token ids mean nothing here: make the rollouts again with `harvest rollouts`, or take the checkpoint that made them"
    )]
    Rollouts {
        /// The rollouts file.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// What is asked for.
        expected: String,
        /// What the file records.
        got: String,
    },
    /// The selection names a row that is not there.
    #[error("{path}: selection.rows: expected rows among the {rows} that the files hold, from 0, got {row}")]
    NoSuchRow {
        /// The data manifest.
        path: PathBuf,
        /// The row.
        row: u64,
        /// How many rows there are.
        rows: u64,
    },
    /// There are more rows than can be shuffled as a whole.
    #[error(
        "{path}: selection.shuffle_seed: expected fewer than {limit} rows, got {rows}. Use seed and shuffle_buffer, which hold few of them at a time"
    )]
    TooManyRows {
        /// The data manifest.
        path: PathBuf,
        /// How many rows there are.
        rows: u64,
        /// The most rows.
        limit: u32,
    },
    /// A text file cannot be used.
    #[error("{path}: {problem}")]
    Text {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: LineProblem,
    },
    /// A compressed file ends too early or is damaged.
    #[error(
        "{path}: its zstd data is cut short or damaged after {bytes} decompressed bytes: {cause}. Download or copy the file again"
    )]
    Compressed {
        /// The file.
        path: PathBuf,
        /// How far decompression came.
        bytes: u64,
        /// What the decoder said.
        cause: io::Error,
    },
}

/// What can be wrong with a line, or with a text.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineProblem {
    /// Longer than is read into memory.
    #[error("longer than {limit} bytes, the most that one document may take. Cut it into several documents")]
    TooLong {
        /// The most bytes.
        limit: usize,
    },
    /// A subset's name that is no name.
    #[error(
        "expected the name of a subset in {field}, of at most {limit} bytes, got a longer text. Is it another field?"
    )]
    LongSubset {
        /// The field.
        field: String,
        /// The most bytes.
        limit: usize,
    },
    /// Not UTF-8.
    #[error("expected UTF-8, got other bytes from byte {offset} on. Convert the file, for example with iconv")]
    NotUtf8 {
        /// The number of good bytes before it.
        offset: usize,
    },
    /// Not JSON.
    #[error("expected one JSON object, got an error at column {column}: {reason}")]
    NotJson {
        /// The column, from 1.
        column: usize,
        /// What the parser said.
        reason: String,
    },
    /// A JSON file is neither an array of objects nor objects that follow one another.
    #[error("expected {expected}, got '{got}'. A JSON file holds one array of objects, or objects one after another")]
    Between {
        /// What was due.
        expected: &'static str,
        /// The byte that came.
        got: String,
    },
    /// A JSON file ends before its array or object does.
    #[error("the file ends in the middle of a JSON array or object. Download or copy it again")]
    EndsEarly,
    /// A column of a Parquet file has a type that is not read.
    #[error("expected text, numbers, lists or structures in the column {column:?}, got the type {got}")]
    ColumnType {
        /// The column.
        column: String,
        /// Its type, as Arrow names it.
        got: String,
    },
    /// A field is no list of token ids.
    #[error("expected a list of token ids in the field {field:?}, got {got}")]
    NotTokens {
        /// The field's path.
        field: String,
        /// What kind of value is there.
        got: &'static str,
    },
    /// A rollout ended for no reason that is known.
    #[error("expected stop, length or context in the field {field:?}, got {got:?}")]
    FinishReason {
        /// The field's path.
        field: String,
        /// What is there.
        got: String,
    },
    /// The object lacks a field.
    #[error("expected the field {field:?}, got {got}. Name the right field as {key} in the data manifest")]
    MissingField {
        /// The field's path.
        field: String,
        /// The fields there are, or what is there in an object's place.
        got: String,
        /// The key of the data manifest that names the field.
        key: &'static str,
    },
    /// A field is no text.
    #[error("expected text in the field {field:?}, got {got}. Name the right field as {key} in the data manifest")]
    NotText {
        /// The field's path.
        field: String,
        /// What kind of value is there.
        got: &'static str,
        /// The key of the data manifest that names the field.
        key: &'static str,
    },
    /// The subset's field takes too many values to be one.
    #[error(
        "more than {limit} subsets in the field {field:?}: expected a name that many documents share. Name another field as subset_field in the data manifest, or leave it out"
    )]
    TooManySubsets {
        /// The field's path.
        field: String,
        /// The most subsets.
        limit: usize,
    },
}

impl DataError {
    /// An I/O error at a data file.
    pub(super) fn file(path: &Path, action: &'static str, cause: io::Error) -> Self {
        let advice =
            "The data manifest names it; relative paths start at --data-root, by default the manifest's folder";
        Self::Io { path: path.to_owned(), action, cause, advice }
    }
}
