//! From a data manifest to documents: what to read, and reading it.

mod documents;
mod error;
mod field_path;
mod file_kind;
mod hashing;
mod lines;
mod manifest;
mod sha256;
mod shuffle;

pub use documents::{Document, DocumentReader, FilesRead};
pub use error::{DataError, LineProblem};
pub use field_path::FieldPath;
pub use file_kind::FileKind;
pub use manifest::{DataFile, DataManifest, Shuffle};
pub use sha256::Sha256;
