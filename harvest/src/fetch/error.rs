//! Errors of fetching.

use std::io;
use std::path::PathBuf;

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
    /// An environment variable has an invalid value.
    #[error("{setting}: expected {expected}, got {got}")]
    Setting {
        /// The variable or file.
        setting: String,
        /// The valid values.
        expected: &'static str,
        /// The value found, unless it is secret.
        got: String,
    },
    /// The Hub requires authentication.
    #[error(
        "{repo}: expected access, got 401 from {endpoint} {sent}. Set HF_TOKEN to a token with read access (https://huggingface.co/settings/tokens), and check the repository's name: the Hub says the same of one that is private or not there"
    )]
    Unauthorised {
        /// The repository.
        repo: String,
        /// The Hub.
        endpoint: String,
        /// Which token was sent: `without a token` or `with the token in …`.
        sent: String,
    },
    /// The repository is gated.
    #[error(
        "{repo}: expected access, got 403 from {endpoint} {sent}: the repository is gated, or the token may not read it. Accept its terms at {endpoint}/{page}, and set HF_TOKEN to a token with read access of the account that did"
    )]
    Gated {
        /// The repository.
        repo: String,
        /// The Hub.
        endpoint: String,
        /// Which token was sent.
        sent: String,
        /// The path of the repository's web page.
        page: String,
    },
    /// The repository, revision or file does not exist.
    #[error(
        "{what}: expected it on {endpoint}, got 404: there is no such {missing}. Correct {key} in the fetch manifest"
    )]
    NotFound {
        /// The repository, with revision and file where relevant.
        what: String,
        /// The Hub.
        endpoint: String,
        /// `repository`, `revision` or `file`.
        missing: &'static str,
        /// The key of the manifest that names it.
        key: &'static str,
    },
    /// The Hub's rate limit is exceeded.
    #[error(
        "{what}: got 429, too many requests, from {endpoint} at attempt {attempts}{asked}. Run the same command again later: what has arrived is kept. Set HF_TOKEN for a higher limit"
    )]
    RateLimited {
        /// The request.
        what: String,
        /// The Hub.
        endpoint: String,
        /// The number of attempts.
        attempts: u32,
        /// The wait that the Hub requested: empty, or words that follow a count.
        asked: String,
    },
    /// A server returned another error status.
    #[error(
        "{what}: expected a file, got status {status} from {server}. If it lasts, the server's operators can say why; run the same command again later"
    )]
    Status {
        /// The request.
        what: String,
        /// The URL of the response, without its query.
        server: String,
        /// The HTTP status.
        status: u16,
    },
    /// No server responded.
    #[error(
        "{what}: cannot reach {server}: {cause}. Check the network, the proxy (HTTPS_PROXY) and HF_ENDPOINT; --offline uses only what is on this machine"
    )]
    Unreachable {
        /// The request.
        what: String,
        /// The URL, without its query.
        server: String,
        /// The error.
        cause: String,
    },
    /// A download was interrupted.
    #[error(
        "{what}: expected {expected} bytes, got {got} before the connection ended: {cause}. They are kept: run the same command again, and it asks for the rest only"
    )]
    Interrupted {
        /// The file.
        what: String,
        /// The expected size, if known.
        expected: String,
        /// Bytes received.
        got: u64,
        /// The error.
        cause: String,
    },
    /// A file has the wrong hash.
    #[error("{what}: expected {hash} {expected} ({said_by} says so), got {got}. The file is not kept. {advice}")]
    Hash {
        /// The file.
        what: String,
        /// The kind of hash: `sha256` or `git blob`.
        hash: &'static str,
        /// The expected hash.
        expected: String,
        /// The source of the expected hash.
        said_by: &'static str,
        /// The hash found.
        got: String,
        /// What to do.
        advice: &'static str,
    },
    /// A response is not one of a Hub.
    #[error("{what}: {problem} (from {server}). Check HF_ENDPOINT: this is not what the Hub says")]
    Response {
        /// The request.
        what: String,
        /// The URL, without its query.
        server: String,
        /// What is wrong.
        problem: String,
    },
    /// A file name in a repository would leave the destination folder.
    #[error("{repo}: {problem}. A file of this name could be written anywhere: nothing of this repository is fetched")]
    HostileName {
        /// The repository.
        repo: String,
        /// What is wrong.
        problem: String,
    },
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
    /// Sets the number of attempts in the message.
    pub(super) fn after(self, attempts: u32) -> Self {
        match self {
            Self::RateLimited { what, endpoint, asked, .. } => Self::RateLimited { what, endpoint, attempts, asked },
            error => error,
        }
    }

    /// Returns the error without advice, for a message about a retry.
    pub(super) fn in_short(&self) -> String {
        match self {
            Self::RateLimited { endpoint, .. } => format!("{endpoint} wants fewer requests (429)"),
            Self::Status { server, status, .. } => format!("status {status} from {server}"),
            Self::Unreachable { server, cause, .. } => format!("cannot reach {server}: {cause}"),
            Self::Interrupted { what, got, cause, .. } => {
                format!("{what}: the connection ended after {got} bytes: {cause}")
            }
            other => other.to_string(),
        }
    }

    /// Wraps an I/O error in a folder that is being filled.
    pub(super) fn io(path: impl Into<PathBuf>, action: &'static str, cause: io::Error) -> Self {
        Self::Io { path: path.into(), action, cause, advice: "Check permissions and free space, or use another --out" }
    }
}
