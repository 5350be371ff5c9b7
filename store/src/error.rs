//! Errors of caches. Each states its path, what was expected, what was found and how to fix it.

use std::io;
use std::path::{Path, PathBuf};

use hayloft_runtime::words::did_you_mean;

/// An error of this crate. [`Self::kind`] is what a program decides by; the message is for people.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The operating system reported an error.
    #[error("{path}: cannot {action}: {cause}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operation, as a verb: "read", "create".
        action: &'static str,
        /// The error of the operating system.
        cause: io::Error,
    },
    /// The checkpoint that an import names is unusable.
    #[cfg(feature = "convert")]
    #[error(transparent)]
    Checkpoint(hayloft_checkpoint::CheckpointError),
    /// The disk is full, or its quota is exhausted.
    #[error(
        "{path}: the disk is full ({cause}). Nothing half-written was left; free some space, then run the same command again (`harvest run --resume` keeps the shards that are whole)"
    )]
    DiskFull {
        /// The file being written.
        path: PathBuf,
        /// The error of the operating system.
        cause: io::Error,
    },
    /// The folder has no `plan.json`.
    #[error("{}: expected plan.json, got none. {}", folder.display(), plan_first(folder))]
    MissingPlan {
        /// The cache folder.
        folder: PathBuf,
    },
    /// The folder has no `manifest.json`.
    #[error("{folder}: expected manifest.json, got none. {advice}")]
    MissingManifest {
        /// The cache folder.
        folder: PathBuf,
        /// The likely reason and what to do.
        advice: String,
    },
    /// The file has another format version than this crate's.
    #[error(
        "{path}: expected format version {expected}, got {got}, written by {generator}. This is hayloft {}: read the cache with the version that wrote it, or harvest again", env!("CARGO_PKG_VERSION")
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// The version that this crate reads and writes.
        expected: u32,
        /// The version in the file.
        got: u32,
        /// The program that wrote the file, according to the file.
        generator: String,
    },
    /// A file could not be parsed.
    #[error("{}: expected {expected}, got {got}. {}", path.display(), again(path, "or harvest again"))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The expected contents.
        expected: String,
        /// The actual contents, with line and column if known.
        got: String,
    },
    /// Stored bytes differ from those written.
    #[error("{}: damaged{}: expected {expected}, got {got}. {}", path.display(), place(*row_group, column.as_deref()), again(path, "or delete its shard's folder and run `harvest run --resume`"))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The damaged row group, if any.
        row_group: Option<usize>,
        /// The damaged column, if any.
        column: Option<String>,
        /// The expected contents.
        expected: String,
        /// The actual contents.
        got: String,
    },
    /// Another process is writing to the cache.
    #[error(
        "{folder}: expected to be the only writer, got a lock held by {holder}. Wait for it to end, or write to another folder"
    )]
    Locked {
        /// The cache folder.
        folder: PathBuf,
        /// The holder of the lock.
        holder: String,
    },
    /// The cache was made with other settings.
    #[error(
        "{path}: {field} differs: expected {expected} as now requested, got {got} in the existing files. Use the same settings, or another folder"
    )]
    Mismatch {
        /// The file that records the other setting.
        path: PathBuf,
        /// The setting.
        field: String,
        /// The requested value.
        expected: String,
        /// The value recorded.
        got: String,
    },
    /// Two caches to be merged are incompatible.
    #[error(
        "{path}: {field} differs: expected {expected} as in {like}, got {got}. Only caches of the same model, tokenizer and plan, stored in the same way, go together"
    )]
    Unlike {
        /// The incompatible cache, or the file in it.
        path: PathBuf,
        /// The property that differs. Boxed to keep errors small.
        field: Box<str>,
        /// The value in the first cache.
        expected: Box<str>,
        /// The value in this one.
        got: Box<str>,
        /// The first cache.
        like: PathBuf,
    },
    /// The cache already has contents, and adding to it was not allowed.
    #[error(
        "{path}: expected a folder without it, got one that has it already. Use --resume to go on with it, or another folder"
    )]
    Exists {
        /// The existing file or folder.
        path: PathBuf,
    },
    /// The plan is lost, and with it the assignment of tokens to shards.
    #[error(
        "{path}: {why}. The plan cannot be made again from the shards. Copy plan.json and plan/ from another copy of this cache; or run `harvest plan` on another folder with the same data manifest, tokenizer and settings, which gives the same bytes, and copy them from there"
    )]
    PlanLost {
        /// The plan.
        path: PathBuf,
        /// The defect.
        why: String,
    },
    /// A path recorded in a file leaves the cache folder.
    #[error(
        "{path}: it names `{named}`: expected a relative path that stays inside the folder, got one that leaves it. Do not trust this cache; take it again from its source"
    )]
    LeavesFolder {
        /// The file that records the path.
        path: PathBuf,
        /// The recorded path.
        named: String,
    },
    /// An activation is NaN or infinite.
    #[error(
        "{site}: sequence {sequence}, position {position}: expected finite activations, got NaN or infinity. Run the model in another type (--dtype bf16 or f32), or pass --allow-non-finite to store and count such rows"
    )]
    NonFinite {
        /// The site.
        site: String,
        /// The sequence's id.
        sequence: u64,
        /// The position in it, from 0.
        position: u64,
    },
    /// A value is out of range.
    #[error("{what}: expected {expected}, got {got}")]
    Invalid {
        /// What the value is for.
        what: String,
        /// The allowed values.
        expected: String,
        /// The actual value.
        got: String,
    },
    /// A remote operation failed, or a remote object is not as expected.
    #[error("{url}: cannot {action}: expected {expected}, got {got}. {advice}")]
    Remote {
        /// The object or location, without credentials.
        url: String,
        /// The operation, as a verb: "read", "push to".
        action: &'static str,
        /// The expected contents. This and the following are boxed to keep errors small.
        expected: Box<str>,
        /// The actual contents, or the response of the service.
        got: Box<str>,
        /// What to do.
        advice: Box<str>,
    },
    /// The cache has no such site.
    #[error(
        "{folder}: expected one of the sites {available}, got {site}. Harvest that site, or name one of these{}",
        did_you_mean(.site, .available.split(", "))
    )]
    UnknownSite {
        /// The cache or shard folder.
        folder: PathBuf,
        /// The requested site.
        site: String,
        /// The available sites.
        available: String,
    },
}

/// The kind of a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such cache, plan or site.
    NotFound,
    /// A file is not what was written, or not what a cache holds.
    Damaged,
    /// The file has another format version.
    Unsupported,
    /// Another writer, or other contents or settings, are in the way.
    Conflict,
    /// An argument or a value is out of range.
    Invalid,
    /// The operating system reported an error, such as a full disk.
    Io,
    /// A bucket or web server failed, or has other objects than expected.
    Remote,
}

/// The result type of this crate.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Joins values by commas, for messages.
pub(crate) fn joined<T: ToString>(values: impl IntoIterator<Item = T>) -> String {
    values.into_iter().map(|value| value.to_string()).collect::<Vec<_>>().join(", ")
}

/// Describes the position of damage in a file.
fn place(row_group: Option<usize>, column: Option<&str>) -> String {
    let row_group = row_group.map(|index| format!(" in row group {index}")).unwrap_or_default();
    let column = column.map(|name| format!(", column {name}")).unwrap_or_default();
    row_group + &column
}

/// Returns whether `text` is a location, such as `s3://bucket/prefix`, rather than the path of a folder.
pub(crate) fn is_location(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.chars().all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter))
    })
}

/// Returns whether a path stands for a remote location.
pub(crate) fn is_elsewhere(path: &Path) -> bool {
    path.to_str().is_some_and(is_location)
}

/// Returns advice on how to restore a file.
fn again(path: &Path, or_else: &str) -> String {
    if is_elsewhere(path) {
        let run = if path.starts_with("https:") || path.starts_with("http:") { "Ask its owner to run" } else { "Run" };
        return format!(
            "{run} `store push` from a whole copy of the cache: it writes anew what is missing or damaged there"
        );
    }
    format!("Copy the file again from its source, {or_else}")
}

/// Returns advice on how to create a plan.
fn plan_first(folder: &Path) -> String {
    if is_elsewhere(folder) {
        return format!("Run `harvest plan` for a folder, and `store push` it to {}", folder.display());
    }
    "Run `harvest plan` for this folder first".to_owned()
}

impl StoreError {
    /// Returns the kind.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::MissingPlan { .. } | Self::MissingManifest { .. } | Self::UnknownSite { .. } => ErrorKind::NotFound,
            Self::Malformed { .. } | Self::Damaged { .. } | Self::PlanLost { .. } | Self::LeavesFolder { .. } => {
                ErrorKind::Damaged
            }
            Self::Version { .. } => ErrorKind::Unsupported,
            Self::Locked { .. } | Self::Mismatch { .. } | Self::Unlike { .. } | Self::Exists { .. } => {
                ErrorKind::Conflict
            }
            Self::NonFinite { .. } | Self::Invalid { .. } => ErrorKind::Invalid,
            #[cfg(feature = "convert")]
            Self::Checkpoint(_) => ErrorKind::Invalid,
            Self::Io { .. } | Self::DiskFull { .. } => ErrorKind::Io,
            Self::Remote { .. } => ErrorKind::Remote,
        }
    }

    /// Creates an I/O error, or a disk-full error if applicable.
    pub(crate) fn io(path: &Path, action: &'static str, cause: io::Error) -> Self {
        match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path: path.to_owned(), cause }
            }
            _ => Self::Io { path: path.to_owned(), action, cause },
        }
    }

    /// Creates an error for damage outside of row groups.
    #[expect(clippy::needless_pass_by_value, reason = "so that a literal, a number or a String is passed as it is")]
    pub(crate) fn damaged(path: &Path, expected: impl ToString, got: impl ToString) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            row_group: None,
            column: None,
            expected: expected.to_string(),
            got: got.to_string(),
        }
    }

    /// Creates an error for damage in one column of one row group.
    #[expect(clippy::needless_pass_by_value, reason = "so that a literal, a number or a String is passed as it is")]
    pub(crate) fn damaged_column(
        path: &Path,
        row_group: usize,
        column: &str,
        expected: impl ToString,
        got: impl ToString,
    ) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            row_group: Some(row_group),
            column: Some(column.to_owned()),
            expected: expected.to_string(),
            got: got.to_string(),
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "so that a literal, a number or a String is passed as it is")]
    pub(crate) fn invalid(what: impl ToString, expected: impl ToString, got: impl ToString) -> Self {
        Self::Invalid { what: what.to_string(), expected: expected.to_string(), got: got.to_string() }
    }

    /// Converts an error of the Parquet writer, unwrapping its I/O error if it has one.
    pub(crate) fn writing(path: &Path, error: parquet::errors::ParquetError) -> Self {
        let source = match error {
            parquet::errors::ParquetError::External(inner) => match inner.downcast::<io::Error>() {
                Ok(source) => *source,
                Err(other) => io::Error::other(other),
            },
            other => io::Error::other(other),
        };
        Self::io(path, "write", source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart_even_inside_a_parquet_error() {
        let source = io::Error::from(io::ErrorKind::StorageFull);
        let error = StoreError::writing(Path::new("a"), parquet::errors::ParquetError::from(source));
        assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
        assert!(error.to_string().contains("free some space"));
        assert_eq!(error.kind(), ErrorKind::Io);
    }

    #[test]
    fn damage_names_its_place() {
        let error = StoreError::damaged_column(Path::new("cache/a.parquet"), 3, "mantissa", "1", "2");
        assert_eq!(error.kind(), ErrorKind::Damaged);
        let text = error.to_string();
        assert!(
            text.starts_with("cache/a.parquet: damaged in row group 3, column mantissa: expected 1, got 2."),
            "{text}"
        );
    }
}
