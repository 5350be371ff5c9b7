//! Reads documents and conversations as a data manifest selects them.

mod arrow_rows;
mod chat_rows;
mod chat_settings;
mod compression;
mod csv_rows;
mod documents;
mod elements;
mod error;
mod field_path;
mod fields;
mod file_kind;
mod files;
mod hashing;
mod json_fields;
mod lines;
mod manifest;
mod messages;
mod numpy_random;
mod parquet_rows;
mod rows;
mod selection;
mod shuffle;
mod starter;
mod token_rows;

pub use chat_rows::{ChatReader, ChatRow, ROLLOUTS_KEY, Replies};
pub(crate) use chat_rows::{ROLLOUTS_FORMAT, ROLLOUTS_MESSAGES};
pub use chat_settings::{ChatSettings, UnusableRows};
pub use documents::{Document, DocumentReader, FilesRead};
pub use error::{DataError, LineProblem};
pub use field_path::FieldPath;
pub use file_kind::FileKind;
pub use manifest::{BadRows, BosChoice, DataFile, DataManifest, Shuffle};
pub(crate) use parquet_rows::LIMITS as PARQUET_LIMITS;
pub use selection::{RowOrder, Selection};
pub use starter::StarterManifest;
