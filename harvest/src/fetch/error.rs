//! Errors of fetching.

use std::io;
use std::path::PathBuf;

use hayloft_hub::HubError;

use super::EntryKind;

/// An error of fetching. Every message names the file, repository or variable, what was expected, what was found and
/// what to do. No message contains a token, or a URL's query, which may hold a signature.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The operating system refused an operation.
    #[error("{path}: cannot {action}: {cause}. {advice}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operation, as a verb.
        action: &'static str,
        /// The operating system's error.
        cause: io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// The fetch manifest is not valid.
    #[error("{path}: not a fetch manifest: {problem}\ndata-manifests/README.md describes every key")]
    Manifest {
        /// The fetch manifest.
        path: PathBuf,
        /// What is wrong, with line and key.
        problem: String,
    },
    /// The requested name is not in the manifest.
    #[error("{path}: expected one of its names ({known}), got {name:?}")]
    UnknownName {
        /// The fetch manifest.
        path: PathBuf,
        /// The requested name.
        name: String,
        /// The names in the manifest.
        known: String,
    },
    /// The Hub, or its cache.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// No file in the repository matches.
    #[error("{repo}: expected a file {wanted}, got {got}. {advice}")]
    NothingMatches {
        /// The repository and its revision.
        repo: String,
        /// The pattern.
        wanted: String,
        /// Some of the repository's files.
        got: String,
        /// What to do.
        advice: &'static str,
    },
    /// The entry is not on this machine, and offline mode is on.
    #[error(
        "{name}: expected {kind} {repo} at {revision} on this machine because of {said_by}, got nothing in {cache}. Run the same command once with a network and without {said_by}"
    )]
    Offline {
        /// The entry.
        name: String,
        /// The kind of entry.
        kind: EntryKind,
        /// Its repository.
        repo: String,
        /// The requested revision.
        revision: String,
        /// The flag or variable that sets offline mode.
        said_by: &'static str,
        /// Hugging Face's cache.
        cache: PathBuf,
    },
    /// The entry's folder exists and was not fetched.
    #[error(
        "{path}: expected nothing, or a folder with fetched.json in it, got something else. It is left as it is: move it away, or use another --out"
    )]
    NotFetched {
        /// The folder.
        path: PathBuf,
    },
    /// The record of an earlier fetch has another format.
    #[error(
        "{path}: expected format {expected}, got {got}: another version of hayloft wrote it. Move the folder away, or use another --out"
    )]
    RecordFormat {
        /// The record.
        path: PathBuf,
        /// The format of this version.
        expected: u32,
        /// The format found.
        got: String,
    },
    /// Another process is fetching the same entry into the same folder.
    #[error(
        "{path}: expected to be alone, got another harvest fetch that fills this folder. Wait for it, or use another --out"
    )]
    Busy {
        /// The folder that is being filled.
        path: PathBuf,
    },
}

impl FetchError {
    /// Wraps an I/O error in a folder that is being filled.
    pub(super) fn io(path: impl Into<PathBuf>, action: &'static str, cause: io::Error) -> Self {
        Self::Io { path: path.into(), action, cause, advice: "Check permissions and free space, or use another --out" }
    }
}
