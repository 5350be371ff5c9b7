//! Everything that can go wrong while fetching.

use std::io;
use std::path::PathBuf;

use super::EntryKind;

/// An error of fetching. Every message names the file, repository or variable, what was expected, what was found and
/// what to do. None of them holds a token, and no address in them its query, where stores put signatures.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The operating system refused an operation.
    #[error("{path}: cannot {action}: {cause}. {advice}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was being done, as a verb.
        action: &'static str,
        /// What the operating system said.
        cause: io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// The fetch manifest is not what was expected.
    #[error("{path}: not a fetch manifest: {problem}\ndata-manifests/README.md describes every key")]
    Manifest {
        /// The fetch manifest.
        path: PathBuf,
        /// What is wrong, with line and key.
        problem: String,
    },
    /// Something was asked for by a name that the manifest does not have.
    #[error("{path}: expected one of its names ({known}), got {name:?}")]
    UnknownName {
        /// The fetch manifest.
        path: PathBuf,
        /// What was asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// An environment variable has a value that it cannot have.
    #[error("{setting}: expected {expected}, got {got}")]
    Setting {
        /// The variable or file.
        setting: String,
        /// What it may be.
        expected: &'static str,
        /// What it is, if that is no secret.
        got: String,
    },
    /// The Hub wants to know who asks.
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
    /// The owner of the repository wants its terms accepted.
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
        /// The path of the repository's page.
        page: String,
    },
    /// There is no such repository, revision or file.
    #[error(
        "{what}: expected it on {endpoint}, got 404: there is no such {missing}. Correct {key} in the fetch manifest"
    )]
    NotFound {
        /// The repository, with revision and file where they are meant.
        what: String,
        /// The Hub.
        endpoint: String,
        /// `repository`, `revision` or `file`.
        missing: &'static str,
        /// The key of the manifest that names it.
        key: &'static str,
    },
    /// The Hub wants fewer requests.
    #[error(
        "{what}: got 429, too many requests, from {endpoint} at attempt {attempts}{asked}. Run the same command again later: what has arrived is kept. Set HF_TOKEN for a higher limit"
    )]
    RateLimited {
        /// What was asked for.
        what: String,
        /// The Hub.
        endpoint: String,
        /// Which attempt was given up.
        attempts: u32,
        /// How long it asked to wait: empty, or words that follow a count.
        asked: String,
    },
    /// A server answered with another status.
    #[error(
        "{what}: expected a file, got status {status} from {server}. If it lasts, the server's operators can say why; run the same command again later"
    )]
    Status {
        /// What was asked for.
        what: String,
        /// The address that answered, without its query.
        server: String,
        /// The status.
        status: u16,
    },
    /// No server answered.
    #[error(
        "{what}: cannot reach {server}: {cause}. Check the network, the proxy (HTTPS_PROXY) and HF_ENDPOINT; --offline uses only what is on this machine"
    )]
    Unreachable {
        /// What was asked for.
        what: String,
        /// The address, without its query.
        server: String,
        /// What went wrong.
        cause: String,
    },
    /// A download stopped before its end.
    #[error(
        "{what}: expected {expected} bytes, got {got} before the connection ended: {cause}. They are kept: run the same command again, and it asks for the rest only"
    )]
    Interrupted {
        /// The file.
        what: String,
        /// Its size, if it is known.
        expected: String,
        /// The bytes that are here.
        got: u64,
        /// What went wrong.
        cause: String,
    },
    /// A file is not the one that is meant.
    #[error("{what}: expected {hash} {expected} ({said_by} says so), got {got}. The file is not kept. {advice}")]
    Hash {
        /// The file.
        what: String,
        /// Which hash: `sha256` or `git blob`.
        hash: &'static str,
        /// What it should be.
        expected: String,
        /// Who says so.
        said_by: &'static str,
        /// What it is.
        got: String,
        /// What to do.
        advice: &'static str,
    },
    /// A server said something that a Hub does not say.
    #[error("{what}: {problem} (from {server}). Check HF_ENDPOINT: this is not what the Hub says")]
    Answer {
        /// What was asked for.
        what: String,
        /// The address, without its query.
        server: String,
        /// What is wrong with the answer.
        problem: String,
    },
    /// A repository has a file whose name leaves the folder that it would be put into.
    #[error("{repo}: {problem}. A file of this name could be written anywhere: nothing of this repository is fetched")]
    HostileName {
        /// The repository.
        repo: String,
        /// What is wrong with the name.
        problem: String,
    },
    /// Nothing in the repository is called what is wanted.
    #[error("{repo}: expected a file {wanted}, got {got}. {advice}")]
    NothingMatches {
        /// The repository and its revision.
        repo: String,
        /// The pattern.
        wanted: String,
        /// Some of the files that are there.
        got: String,
        /// What to do.
        advice: &'static str,
    },
    /// It is not on this machine, and the Hub may not be asked.
    #[error(
        "{name}: expected {kind} {repo} at {revision} on this machine because of {said_by}, got nothing in {cache}. Run the same command once with a network and without {said_by}"
    )]
    Offline {
        /// The entry.
        name: String,
        /// What it is.
        kind: EntryKind,
        /// Its repository.
        repo: String,
        /// The revision wanted.
        revision: String,
        /// The flag or variable that says so.
        said_by: &'static str,
        /// Hugging Face's cache.
        cache: PathBuf,
    },
    /// A folder stands where an entry goes, and was not fetched.
    #[error(
        "{path}: expected nothing, or a folder with fetched.json in it, got something else. It is left as it is: move it away, or use another --out"
    )]
    NotOurs {
        /// The folder.
        path: PathBuf,
    },
    /// Another process fetches the same entry into the same place.
    #[error(
        "{path}: expected to be alone, got another harvest fetch that fills this folder. Wait for it, or use another --out"
    )]
    Busy {
        /// The folder that is being filled.
        path: PathBuf,
    },
}

impl FetchError {
    /// The error as it is told after so many attempts.
    pub(super) fn after(self, attempts: u32) -> Self {
        match self {
            Self::RateLimited { what, endpoint, asked, .. } => Self::RateLimited { what, endpoint, attempts, asked },
            error => error,
        }
    }

    /// What went wrong, without what to do: something is being done about it.
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

    /// An I/O error in a folder that is being filled.
    pub(super) fn io(path: impl Into<PathBuf>, action: &'static str, cause: io::Error) -> Self {
        Self::Io { path: path.into(), action, cause, advice: "Check permissions and free space, or use another --out" }
    }
}
