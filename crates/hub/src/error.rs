//! Errors of the Hub and its cache.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// An error of the Hub or its cache. Every message names the file, repository or variable, what was expected, what was
/// found and what to do. No message contains a token, or a URL's query, which may hold a signature.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The operating system refused an operation.
    #[error("{path}: cannot {action}: {cause}. Check permissions and free space, or use another folder")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operation, as a verb.
        action: &'static str,
        /// The operating system's error.
        cause: io::Error,
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
    #[error("{what}: expected it on {endpoint}, got 404: there is no such {missing}. {advice}")]
    NotFound {
        /// The repository, with revision and file where relevant.
        what: String,
        /// The Hub.
        endpoint: String,
        /// `repository`, `revision` or `file`.
        missing: &'static str,
        /// What to do.
        advice: String,
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
        "{what}: cannot reach {server}: {cause}. Check the network, the proxy (HTTPS_PROXY) and HF_ENDPOINT; with HF_HUB_OFFLINE=1 only what is on this machine is used"
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
    #[error("{what}: expected {hash} {expected} ({said_by} says so), got {got}. The file is not kept. {}", said_by.advice())]
    Hash {
        /// The file.
        what: String,
        /// The kind of hash: `sha256` or `git blob`.
        hash: &'static str,
        /// The expected hash.
        expected: String,
        /// The source of the expected hash.
        said_by: HashSource,
        /// The hash found.
        got: String,
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
    /// An argument is neither a folder nor an id.
    #[error("{argument}: no such folder. {advice}")]
    NoFolder {
        /// The argument.
        argument: String,
        /// What to do.
        advice: &'static str,
    },
    /// An argument is no folder, and as an id it leads to an error.
    #[error("{argument}: no such folder here, and as an id of the Hugging Face Hub: {cause}")]
    Id {
        /// The argument.
        argument: String,
        /// The error.
        cause: Box<HubError>,
    },
    /// Files are not on this machine, and offline mode is on.
    #[error(
        "{repository}: expected on this machine because of {said_by}: {files}; got {got}. Run the same command once with a network and without {said_by}: it fetches them into that folder"
    )]
    Offline {
        /// The repository, its revision and the Hub.
        repository: String,
        /// The files that are missing.
        files: String,
        /// The files that are there, and Hugging Face's cache.
        got: String,
        /// The flag or variable that sets offline mode.
        said_by: &'static str,
    },
    /// A repository lacks files that are needed.
    #[error("{repository}: expected {}, got {}. {}", lacking.expected, lacking.got, lacking.advice)]
    Lacks {
        /// The repository and its revision.
        repository: String,
        /// What it lacks.
        lacking: Lacking,
    },
}

/// The source of an expected hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashSource {
    /// The Hub's listing or headers.
    Hub,
    /// A fetch manifest.
    FetchManifest,
}

impl HashSource {
    fn advice(self) -> &'static str {
        match self {
            Self::Hub => {
                "Run the same command again; if it stays so, the server or something between gives wrong bytes"
            }
            Self::FetchManifest => {
                "The repository has another version of it: set revision in the fetch manifest, or correct the hash"
            }
        }
    }
}

impl fmt::Display for HashSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Hub => "the Hub",
            Self::FetchManifest => "the fetch manifest",
        })
    }
}

/// What a repository lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// The files that are expected.
    pub expected: String,
    /// What the repository has.
    pub got: String,
    /// What to do.
    pub advice: String,
}

impl HubError {
    /// Sets the number of attempts in the message.
    pub(crate) fn after(self, attempts: u32) -> Self {
        match self {
            Self::RateLimited { what, endpoint, asked, .. } => Self::RateLimited { what, endpoint, attempts, asked },
            error => error,
        }
    }

    /// Returns the error without advice, for a message about a retry.
    pub(crate) fn in_short(&self) -> String {
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

    /// Says that an argument is no folder, and that its id leads to this error. An error of the settings stays as it is.
    #[must_use]
    pub fn of(self, argument: &str) -> Self {
        match self {
            Self::Setting { .. } => self,
            cause => Self::Id { argument: argument.to_owned(), cause: Box::new(cause) },
        }
    }

    /// Wraps an I/O error in the cache or in a folder that is being filled.
    pub fn io(path: impl Into<PathBuf>, action: &'static str, cause: io::Error) -> Self {
        Self::Io { path: path.into(), action, cause }
    }
}
