//! Everything that can go wrong with a cache, each said with its path, what was expected, what was found and what to do.

use std::io;
use std::path::{Path, PathBuf};

use crate::remote::Location;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused an operation.
    #[error("{path}: cannot {action}: {cause}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was being done, as a verb: "read", "create".
        action: &'static str,
        /// What the operating system said.
        cause: io::Error,
    },
    /// The disk, or the quota on it, is full.
    #[error(
        "{path}: the disk is full ({cause}). Nothing half-written was left; free some space, then run the same command again (`harvest run --resume` keeps the shards that are whole)"
    )]
    DiskFull {
        /// The file being written.
        path: PathBuf,
        /// What the operating system said.
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
        /// Why that may be, and what to do.
        advice: String,
    },
    /// The file was written in a format that this version does not know.
    #[error(
        "{path}: expected format version 1 to {expected}, got {got}, written by {generator}. This is hayloft {}: read it with a newer one", env!("CARGO_PKG_VERSION")
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// The newest version that this crate reads.
        expected: u32,
        /// The version in the file.
        got: u32,
        /// The program that the file says it was written by.
        generator: String,
    },
    /// The cache is in an earlier format, which is read but no longer written.
    #[error(
        "{folder}: expected format version {expected} to add to it, got {got}. Run `store upgrade {folder}` first; reading it needs no upgrade"
    )]
    OldVersion {
        /// The cache folder.
        folder: PathBuf,
        /// The version that this crate writes.
        expected: u32,
        /// The version of the cache.
        got: u32,
    },
    /// A JSON file could not be understood.
    #[error("{}: expected {expected}, got {got}. {}", path.display(), again(path, "or harvest again"))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What should have been there.
        expected: String,
        /// What is there, with line and column where they are known.
        got: String,
    },
    /// Stored bytes are not those that were written.
    #[error("{}: damaged{}: expected {expected}, got {got}. {}", path.display(), place(*row_group, column.as_deref()), again(path, "or delete its shard's folder and run `harvest run --resume`"))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The row group in it, where the damage is in one.
        row_group: Option<usize>,
        /// The column in it, where the damage is in one.
        column: Option<String>,
        /// What should have been there.
        expected: String,
        /// What is there.
        got: String,
    },
    /// Another process is writing to the cache.
    #[error(
        "{folder}: expected to be the only writer, got a lock held by {holder}. Wait for it to end, or write to another folder"
    )]
    Locked {
        /// The cache folder.
        folder: PathBuf,
        /// Who holds the lock.
        holder: String,
    },
    /// What is in the cache was made with other settings.
    #[error(
        "{path}: {field} differs: expected {expected} as asked for now, got {got} from what is there. Use the same settings, or another folder"
    )]
    Mismatch {
        /// The file that records the other setting.
        path: PathBuf,
        /// The setting.
        field: String,
        /// The value asked for now.
        expected: String,
        /// The value recorded.
        got: String,
    },
    /// Two caches that are to be put together are not of the same kind.
    #[error(
        "{path}: {field} differs: expected {expected} as in {like}, got {got}. Only caches of the same model, tokenizer and plan, stored in the same way, go together"
    )]
    Unlike {
        /// The cache, or the file in it, that is of another kind.
        path: PathBuf,
        /// What differs. Boxed, so that errors stay small.
        field: Box<str>,
        /// The value in the first cache.
        expected: Box<str>,
        /// The value in this one.
        got: Box<str>,
        /// The first cache.
        like: PathBuf,
    },
    /// The cache already holds something, and no leave was given to add to it.
    #[error(
        "{path}: expected a folder without it, got one that has it already. Use --resume to go on with it, or another folder"
    )]
    Exists {
        /// The file or folder that is there.
        path: PathBuf,
    },
    /// The plan is gone, and with it the knowledge of which tokens a shard is to be filled with.
    #[error(
        "{path}: {why}. The plan cannot be made again from the shards. Copy plan.json and plan/ from another copy of this cache; or run `harvest plan` on another folder with the same data manifest, tokenizer and settings, which gives the same bytes, and copy them from there"
    )]
    PlanLost {
        /// The plan.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A path recorded in a file would leave the cache's folder.
    #[error(
        "{path}: it names `{named}`: expected a relative path that stays inside the folder, got one that leaves it. Do not trust this cache; take it again from its source"
    )]
    LeavesFolder {
        /// The file that names it.
        path: PathBuf,
        /// The path it names.
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
    /// A value that a name or a number must not have.
    #[error("{what}: expected {expected}, got {got}")]
    Invalid {
        /// What it is the value of.
        what: String,
        /// What is allowed.
        expected: String,
        /// What was given.
        got: String,
    },
    /// Something at another place than this machine cannot be had, or is not what it should be.
    #[error("{url}: cannot {action}: expected {expected}, got {got}. {advice}")]
    Remote {
        /// The object or place, without credentials.
        url: String,
        /// What was being done, as a verb: "read", "push to".
        action: &'static str,
        /// What should have been there. Boxed, like what follows, so that errors stay small.
        expected: Box<str>,
        /// What is there, or what the service said.
        got: Box<str>,
        /// What to do.
        advice: Box<str>,
    },
    /// The cache has no such site.
    #[error("{folder}: expected one of the sites {available}, got {site}. Harvest that site, or name one of these")]
    UnknownSite {
        /// The cache or shard folder.
        folder: PathBuf,
        /// The site asked for.
        site: String,
        /// The sites there are.
        available: String,
    },
}

/// What this crate's fallible functions return.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// The words for where in a file damage is.
fn place(row_group: Option<usize>, column: Option<&str>) -> String {
    let row_group = row_group.map(|index| format!(" in row group {index}")).unwrap_or_default();
    let column = column.map(|name| format!(", column {name}")).unwrap_or_default();
    row_group + &column
}

/// Whether a path stands for a place that is not on this machine.
fn is_elsewhere(path: &Path) -> bool {
    path.to_str().is_some_and(Location::is_meant)
}

/// How a file comes to be what it should be.
fn again(path: &Path, or_else: &str) -> String {
    if is_elsewhere(path) {
        let who =
            if path.starts_with("https:") || path.starts_with("http:") { "Let whoever keeps it run" } else { "Run" };
        return format!(
            "{who} `store push` from a whole copy of the cache: it writes anew what is missing or damaged there"
        );
    }
    format!("Copy the file again from its source, {or_else}")
}

/// How a folder comes to have a plan.
fn plan_first(folder: &Path) -> String {
    if is_elsewhere(folder) {
        return format!("Run `harvest plan` for a folder, and `store push` it to {}", folder.display());
    }
    "Run `harvest plan` for this folder first".to_owned()
}

impl StoreError {
    /// An I/O error, told apart by whether the disk is full.
    pub(crate) fn io(path: &Path, action: &'static str, cause: io::Error) -> Self {
        match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path: path.to_owned(), cause }
            }
            _ => Self::Io { path: path.to_owned(), action, cause },
        }
    }

    /// Damage to a whole file, or to a part of it that is no row group.
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

    /// Damage within one column of one row group.
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

    /// A value outside what is allowed.
    #[expect(clippy::needless_pass_by_value, reason = "so that a literal, a number or a String is passed as it is")]
    pub(crate) fn invalid(what: impl ToString, expected: impl ToString, got: impl ToString) -> Self {
        Self::Invalid { what: what.to_string(), expected: expected.to_string(), got: got.to_string() }
    }

    /// An error of the Parquet writer: its I/O error where it carries one.
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
    }

    #[test]
    fn damage_names_its_place() {
        let error = StoreError::damaged_column(Path::new("cache/a.parquet"), 3, "mantissa", "1", "2");
        let text = error.to_string();
        assert!(
            text.starts_with("cache/a.parquet: damaged in row group 3, column mantissa: expected 1, got 2."),
            "{text}"
        );
    }
}
