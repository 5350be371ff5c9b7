//! The Hub over HTTP: addresses and requests are `hf-hub`'s, and what it lacks is here.
//!
//! `hf-hub` 0.5 can download on its own, but not as a stranger's server requires: its `metadata` sends the token on to
//! whatever host a redirect names, it appends to a partial file without looking whether the server honoured the range,
//! compares no hash, does not wait as long as `Retry-After` asks, and panics on addresses that it cannot parse. So each
//! redirect is followed here, with the token for the Hub's own origin alone, and the rest is in [`super::transfer`].

use std::io::{BufReader, Read};
use std::thread;
use std::time::Duration;

use hf_hub::Repo;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError};
use serde::Deserialize;
use ureq::Body;
use ureq::http::{Response, Uri};

use super::answer::{Answer, Facts, header};
use super::digest::Expected;
use super::hub_settings::{HubSettings, Origin};
use super::listing::{ListedFile, Listing};
use super::names::{Commit, FileName, is_hexadecimal};
use super::{Entry, FetchError};
use crate::data::Sha256;

/// What went wrong with one request.
pub(super) enum Failure {
    /// It will go wrong again.
    Lasting(FetchError),
    /// It may go well the next time.
    Passing {
        error: FetchError,
        /// The wait that the server asks for.
        asked_for: Option<Duration>,
        /// Whether something was achieved before it went wrong.
        progress: bool,
    },
}

/// A client of the Hub.
pub(super) struct Hub {
    settings: HubSettings,
    /// Sends the token.
    known: Api,
    /// Sends none.
    anonymous: Api,
}

/// The Hub redirects once or twice.
const MOST_REDIRECTS: usize = 8;

/// A repository of a hundred thousand files is described in about 30 MB.
const LARGEST_LISTING: u64 = 256 << 20;

const CONNECT: Duration = Duration::from_secs(30);

impl Hub {
    pub(super) fn new(settings: &HubSettings) -> Result<Self, FetchError> {
        let build = |token: Option<String>| {
            ApiBuilder::from_cache(hf_hub::Cache::new(settings.cache.clone()))
                .with_endpoint(settings.endpoint.address.clone())
                .with_progress(false)
                .with_user_agent("hayloft", env!("CARGO_PKG_VERSION"))
                .with_token(token)
                .build()
        };
        let api = |token| {
            build(token).map_err(|cause: ApiError| FetchError::Unreachable {
                what: "the Hub".to_owned(),
                server: settings.endpoint.address.clone(),
                cause: cause.to_string(),
            })
        };
        let secret = settings.token.as_ref().map(|token| token.secret.clone());
        Ok(Self { settings: settings.clone(), known: api(secret)?, anonymous: api(None)? })
    }

    /// The files of an entry's repository at its revision.
    pub(super) fn listing(&self, entry: &Entry) -> Result<Listing, FetchError> {
        let what = format!("{} at {}", entry.repo, entry.revision);
        let repo = entry.repo_at(entry.revision.as_str());
        let address = format!("{}/api/{}?blobs=true", self.settings.endpoint.address, repo.api_url());
        self.patiently(|| {
            let answer = self.open(entry, &what, &address, 0)?;
            let server = answer.server.clone();
            let mut text = Vec::new();
            let body = answer.body.into_with_config().limit(LARGEST_LISTING).reader();
            BufReader::new(body).read_to_end(&mut text).map_err(|cause| Failure::Passing {
                error: FetchError::Unreachable {
                    what: what.clone(),
                    server: server.clone(),
                    cause: cause.to_string(),
                },
                asked_for: None,
                progress: false,
            })?;
            let wrong =
                |problem: String| FetchError::Answer { what: what.clone(), server: server.clone(), problem };
            let written: WrittenListing = serde_json::from_slice(&text)
                .map_err(|error| wrong(format!("expected a list of files as JSON, got something else: {error}")))?;
            written.resolve(entry).map_err(wrong).map_err(Failure::Lasting)
        })
    }

    /// The address of a file.
    pub(super) fn address(&self, entry: &Entry, commit: &Commit, name: &FileName) -> String {
        self.anonymous.repo(entry.repo_at(commit.as_str())).url(&name.in_address())
    }

    /// Asks for a file from one of its bytes on, and follows redirects. The body is still to be read.
    pub(super) fn open(&self, entry: &Entry, what: &str, address: &str, from: u64) -> Result<Answer, Failure> {
        let repo = entry.repo_at(entry.revision.as_str());
        let mut facts = Facts::default();
        let mut target = address.to_owned();
        for _ in 0..=MOST_REDIRECTS {
            let uri = target.parse::<Uri>().ok().and_then(|uri| Some((Origin::of(&uri)?, uri)));
            let shown = shown(&target);
            let wrong = |problem: &str| {
                Failure::Lasting(FetchError::Answer {
                    what: what.to_owned(),
                    server: shown.clone(),
                    problem: problem.to_owned(),
                })
            };
            let Some((origin, uri)) = uri else {
                return Err(wrong("expected an address over HTTP or HTTPS, got another"));
            };
            let is_hub = origin == self.settings.endpoint.origin;
            let response = self
                .request(&repo, is_hub, uri.clone(), from)
                .map_err(|error| unreachable(error, what, &shown))?;
            if is_hub {
                facts.learn(response.headers());
            }
            let status = response.status();
            if status.is_redirection() {
                let location = header(response.headers(), "location").unwrap_or_default();
                target = resolve(&uri, &location).ok_or_else(|| wrong("expected a redirect to an address, got none"))?;
                if origin.scheme == "https" && !target.starts_with("https://") {
                    return Err(wrong("expected a redirect that stays with HTTPS, got one to plain HTTP"));
                }
                continue;
            }
            if status.is_success() || status.as_u16() == 416 {
                return Ok(Answer::new(response, facts, shown));
            }
            return Err(self.refused(entry, what, is_hub, &shown, &response));
        }
        let problem = format!("expected at most {MOST_REDIRECTS} redirects, got more");
        Err(Failure::Lasting(FetchError::Answer { what: what.to_owned(), server: shown(address), problem }))
    }

    /// One request, without following where it leads.
    fn request(&self, repo: &Repo, is_hub: bool, address: Uri, from: u64) -> Result<Response<Body>, ureq::Error> {
        let api = if is_hub { &self.known } else { &self.anonymous };
        // hf-hub's own request, with its headers, to another address.
        let mut request = api.repo(repo.clone()).info_request().uri(address);
        if from > 0 {
            request = request.header("Range", format!("bytes={from}-"));
        }
        request
            .config()
            .max_redirects(0)
            .http_status_as_error(false)
            // Ranges and sizes are those of the file itself.
            .accept_encoding("identity")
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(self.settings.patience.silence))
            .build()
            .call()
    }

    /// Tries until it goes well, goes wrong for good, or patience ends.
    pub(super) fn patiently<T>(&self, mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T, FetchError> {
        let mut failures = 0;
        loop {
            let (error, asked_for, progress) = match attempt() {
                Ok(done) => return Ok(done),
                Err(Failure::Lasting(error)) => return Err(error),
                Err(Failure::Passing { error, asked_for, progress }) => (error, asked_for, progress),
            };
            failures = if progress { 1 } else { failures + 1 };
            let Some(wait) = self.settings.patience.wait(failures, asked_for) else {
                return Err(match error {
                    FetchError::RateLimited { what, endpoint, asked, .. } => {
                        FetchError::RateLimited { what, endpoint, attempts: failures, asked }
                    }
                    error => error,
                });
            };
            tracing::warn!(wait_seconds = wait.as_secs_f64(), "{error}\ntrying again");
            thread::sleep(wait);
        }
    }

    /// What a status that is no success means.
    fn refused(&self, entry: &Entry, what: &str, is_hub: bool, server: &str, response: &Response<Body>) -> Failure {
        let endpoint = self.settings.endpoint.address.clone();
        let (what, repo) = (what.to_owned(), entry.repo.to_string());
        let code = header(response.headers(), "x-error-code").unwrap_or_default();
        let status = response.status().as_u16();
        let sent = || match &self.settings.token {
            Some(token) => format!("with the token in {}", token.source),
            None => "without a token".to_owned(),
        };
        match status {
            429 => {
                let asked_for = header(response.headers(), "retry-after").and_then(|text| text.trim().parse().ok());
                let asked = asked_for.map_or(String::new(), |seconds: u64| format!(", and to wait {seconds} s"));
                let error = FetchError::RateLimited { what, endpoint, attempts: 1, asked };
                Failure::Passing { error, asked_for: asked_for.map(Duration::from_secs), progress: false }
            }
            401 | 403 if is_hub && (status == 403 || code == "GatedRepo") => {
                let page = entry.repo_at(entry.revision.as_str()).url();
                Failure::Lasting(FetchError::Gated { repo, endpoint, sent: sent(), page })
            }
            401 if is_hub => Failure::Lasting(FetchError::Unauthorised { repo, endpoint, sent: sent() }),
            404 if is_hub => {
                let (missing, key) = match code.as_str() {
                    "RevisionNotFound" => ("revision", "revision"),
                    "EntryNotFound" => ("file", "files or revision"),
                    _ => ("repository", "repo (or models, datasets, saes: the kind decides where it is looked for)"),
                };
                Failure::Lasting(FetchError::NotFound { what, endpoint, missing, key })
            }
            _ => {
                let error = FetchError::Status { what, server: server.to_owned(), status };
                // A store's signed address that has run out is made anew by asking the Hub again.
                if status >= 500 || status == 408 || !is_hub {
                    Failure::Passing { error, asked_for: None, progress: false }
                } else {
                    Failure::Lasting(error)
                }
            }
        }
    }
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self::Lasting(error)
    }
}

/// What a request that got no answer means.
fn unreachable(error: ureq::Error, what: &str, server: &str) -> Failure {
    let lasting = !matches!(
        error,
        ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::HostNotFound | ureq::Error::ConnectionFailed
    );
    let error = FetchError::Unreachable { what: what.to_owned(), server: server.to_owned(), cause: error.to_string() };
    if lasting { Failure::Lasting(error) } else { Failure::Passing { error, asked_for: None, progress: false } }
}

/// An address without its query, where stores put signatures.
fn shown(address: &str) -> String {
    address.split(['?', '#']).next().unwrap_or_default().to_owned()
}

/// Where a redirect leads: a whole address, or a path of the same server.
fn resolve(from: &Uri, location: &str) -> Option<String> {
    if location.starts_with("http://") || location.starts_with("https://") {
        return Some(location.to_owned());
    }
    let server = format!("{}://{}", from.scheme_str()?, from.authority()?);
    let is_path = location.starts_with('/') && !location.starts_with("//");
    is_path.then(|| format!("{server}{location}"))
}

/// A repository as the Hub describes it.
#[derive(Deserialize)]
struct WrittenListing {
    sha: Commit,
    siblings: Vec<WrittenFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenFile {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<WrittenLarge>,
}

#[derive(Deserialize)]
struct WrittenLarge {
    sha256: Sha256,
    size: Option<u64>,
}

impl WrittenListing {
    fn resolve(self, entry: &Entry) -> Result<Listing, String> {
        if let Some(asked) = entry.revision.commit().filter(|asked| *asked != self.sha) {
            return Err(format!("expected commit {asked}, got {}", self.sha));
        }
        let file = |WrittenFile { rfilename: name, size, blob_id, lfs }| {
            let (large, bytes) = lfs.map_or((None, None), |lfs: WrittenLarge| (Some(lfs.sha256), lfs.size));
            // The blob of a large file is git's pointer to it, not the file.
            let blob = blob_id.filter(|blob| large.is_none() && is_hexadecimal(blob, 40));
            let blob = blob.map(|blob| blob.to_ascii_lowercase());
            ListedFile { name, expected: Expected { bytes: size.or(bytes), manifest: None, large, blob } }
        };
        Ok(Listing { commit: self.sha, files: self.siblings.into_iter().map(file).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_to_addresses_and_paths() {
        let from: Uri = "https://hub:8443/o/m/resolve/main/a".parse().unwrap();
        assert_eq!(resolve(&from, "/new/m/resolve/main/a").unwrap(), "https://hub:8443/new/m/resolve/main/a");
        assert_eq!(resolve(&from, "https://cdn/x?sig=1").unwrap(), "https://cdn/x?sig=1");
        for location in ["", "a", "//cdn/x", "file:///etc/passwd"] {
            assert_eq!(resolve(&from, location), None, "{location}");
        }
    }

    #[test]
    fn signatures_are_not_shown() {
        assert_eq!(shown("https://cdn/x?X-Amz-Signature=abc#d"), "https://cdn/x");
    }
}
