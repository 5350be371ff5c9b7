//! The Hub over HTTP. URLs and requests come from `hf-hub`; this module adds what it lacks.
//!
//! `hf-hub` 0.5 can download files, but not safely from an untrusted server. Its `metadata` sends the token to any host
//! that a redirect names. It appends to a partial file without checking whether the server honoured the range. It
//! compares no hashes, ignores long `Retry-After` waits, and panics on URLs that it cannot parse. This module follows
//! each redirect and sends the token only to the Hub's origin. [`transfer`] does the rest.

mod repo_description;
mod request_failure;
mod response;
pub(crate) mod transfer;

use std::fmt;
use std::io::Read;
use std::thread;
use std::time::Duration;

use hf_hub::Repo;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError};
use serde::de::DeserializeOwned;
use ureq::Body;
use ureq::http::{Response, Uri};

use self::repo_description::{References, RepoDescription};
use self::request_failure::{Refused, RequestFailure};
use self::response::{FileResponse, HubMetadata, header};
use crate::error::HubError;
use crate::identifiers::{Commit, FileName};
use crate::listing::Listing;
use crate::repository::{NamedIn, Repository};
use crate::settings::{HubSettings, Origin};

/// A client of the Hub.
pub struct Hub {
    settings: HubSettings,
    /// Sends the token.
    known: Api,
    /// Sends no token.
    anonymous: Api,
}

/// The Hub redirects once or twice.
const MOST_REDIRECTS: usize = 8;

/// The description of a repository with a hundred thousand files is about 30 MB.
const LARGEST_LISTING: u64 = 256 << 20;

/// Bytes received that reset the retry budget.
const PROGRESS: u64 = 1 << 20;

const CONNECT: Duration = Duration::from_secs(30);

impl fmt::Debug for Hub {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The clients hold the token in a header.
        formatter.debug_struct("Hub").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Hub {
    /// Makes a client. Sends nothing.
    pub fn new(settings: &HubSettings) -> Result<Self, HubError> {
        let build = |token: Option<String>| {
            ApiBuilder::from_cache(hf_hub::Cache::new(settings.cache.clone()))
                .with_endpoint(settings.endpoint.address.clone())
                .with_progress(false)
                .with_user_agent("hayloft", env!("CARGO_PKG_VERSION"))
                .with_token(token)
                .build()
        };
        let api = |token| {
            build(token).map_err(|cause: ApiError| HubError::Unreachable {
                what: "the Hub".to_owned(),
                server: settings.endpoint.address.clone(),
                cause: cause.to_string(),
            })
        };
        let secret = settings.token.as_ref().map(|token| token.secret.clone());
        Ok(Self { settings: settings.clone(), known: api(secret)?, anonymous: api(None)? })
    }

    /// Returns the settings.
    pub fn settings(&self) -> &HubSettings {
        &self.settings
    }

    /// Returns the files of a repository at its revision.
    pub fn listing(&self, repository: &Repository) -> Result<Listing, HubError> {
        let what = repository.to_string();
        let address = format!("{}/api/{}?blobs=true", self.settings.endpoint.address, repository.repo().api_url());
        let listed = self.with_retries(|| {
            let described: RepoDescription = self.json(repository, &what, &address)?;
            described
                .listing(repository)
                .map_err(|problem| HubError::Response { what: what.clone(), server: shown(&address), problem }.into())
        });
        listed.map_err(|error| match error {
            HubError::NotFound { what, endpoint, missing: "revision", .. }
                if repository.named_in == NamedIn::Argument =>
            {
                let advice = self.revisions(repository);
                HubError::NotFound { what, endpoint, missing: "revision", advice }
            }
            error => error,
        })
    }

    /// Names the branches and tags of a repository, as advice.
    fn revisions(&self, repository: &Repository) -> String {
        let id = &repository.id;
        let kind = repository.repo().api_url();
        let kind = kind.split('/').next().unwrap_or_default();
        let address = format!("{}/api/{kind}/{id}/refs", self.settings.endpoint.address);
        match self.json::<References>(repository, "branches and tags", &address) {
            Ok(references) => references.advice(repository.revision.as_str()),
            Err(_) => "Name a branch, a tag or a commit after the @".to_owned(),
        }
    }

    /// Requests JSON. `what` names it in messages.
    fn json<T: DeserializeOwned>(
        &self,
        repository: &Repository,
        what: &str,
        address: &str,
    ) -> Result<T, RequestFailure> {
        let FileResponse { body, server, .. } = self.open(repository, what, address, 0)?;
        let mut text = Vec::new();
        body.into_with_config().limit(LARGEST_LISTING).reader().read_to_end(&mut text).map_err(|cause| {
            let (what, server, cause) = (what.to_owned(), server.clone(), cause.to_string());
            RequestFailure::transient(HubError::Unreachable { what, server, cause })
        })?;
        serde_json::from_slice(&text).map_err(|error| {
            let problem = format!("expected a list of files as JSON, got something else: {error}");
            HubError::Response { what: what.to_owned(), server, problem }.into()
        })
    }

    /// Returns the URL of a file.
    fn address(&self, repository: &Repository, commit: &Commit, name: &FileName) -> String {
        self.anonymous.repo(repository.at(commit.as_str())).url(&name.in_address())
    }

    /// Requests a file from a byte offset, and follows redirects. Does not read the body.
    fn open(
        &self,
        repository: &Repository,
        what: &str,
        address: &str,
        from: u64,
    ) -> Result<FileResponse, RequestFailure> {
        let wrong = |target: &str, problem: String| {
            RequestFailure::from(HubError::Response { what: what.to_owned(), server: shown(target), problem })
        };
        let repo = repository.repo();
        let mut metadata = HubMetadata::default();
        let mut target = address.to_owned();
        for _ in 0..=MOST_REDIRECTS {
            let uri = target.parse::<Uri>().ok().and_then(|uri| Some((Origin::of(&uri)?, uri)));
            let Some((origin, uri)) = uri else {
                return Err(wrong(&target, "expected an address over HTTP or HTTPS, got another".to_owned()));
            };
            let is_hub = origin == self.settings.endpoint.origin;
            let response = self
                .request(&repo, is_hub, uri.clone(), from)
                .map_err(|error| RequestFailure::unreachable(&error, what, &shown(&target)))?;
            if is_hub {
                metadata.add_headers(response.headers());
            }
            let status = response.status();
            if status.is_success() || status.as_u16() == 416 {
                return Ok(FileResponse::new(response, metadata, shown(&target)));
            }
            if !status.is_redirection() {
                let (settings, server, status, headers) =
                    (&self.settings, &*shown(&target), status.as_u16(), response.headers());
                return Err(Refused { settings, repository, what, server, is_hub, status, headers }.into());
            }
            let location = header(response.headers(), "location").unwrap_or_default();
            let Some(next) = resolve(&uri, &location) else {
                return Err(wrong(&target, "expected a redirect to an address, got none".to_owned()));
            };
            if origin.scheme == "https" && !next.starts_with("https://") {
                let problem = "expected a redirect that stays with HTTPS, got one to plain HTTP".to_owned();
                return Err(wrong(&target, problem));
            }
            target = next;
        }
        Err(wrong(address, format!("expected at most {MOST_REDIRECTS} redirects, got more")))
    }

    /// Sends one request, without following redirects.
    fn request(&self, repo: &Repo, is_hub: bool, address: Uri, from: u64) -> Result<Response<Body>, ureq::Error> {
        let api = if is_hub { &self.known } else { &self.anonymous };
        // hf-hub's request with its headers, sent to another URL.
        let mut request = api.repo(repo.clone()).info_request().uri(address);
        if from > 0 {
            request = request.header("Range", format!("bytes={from}-"));
        }
        request
            .config()
            .max_redirects(0)
            .http_status_as_error(false)
            // Ranges and sizes refer to the uncompressed file.
            .accept_encoding("identity")
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(self.settings.retries.silence))
            .build()
            .call()
    }

    /// Retries until success, a permanent failure or the end of the retry budget.
    fn with_retries<T>(&self, mut attempt: impl FnMut() -> Result<T, RequestFailure>) -> Result<T, HubError> {
        let mut failures = 0;
        loop {
            let (error, asked_for, received) = match attempt() {
                Ok(done) => return Ok(done),
                Err(RequestFailure::Permanent(error)) => return Err(*error),
                Err(RequestFailure::Transient { error, asked_for, received }) => (error, asked_for, received),
            };
            failures = if received >= PROGRESS { 1 } else { failures + 1 };
            let Some(wait) = self.settings.retries.wait(failures, asked_for) else {
                return Err(error.after(failures));
            };
            tracing::warn!("{}; trying again in {} s", error.in_short(), wait.as_secs_f64());
            thread::sleep(wait);
        }
    }
}

/// Returns a URL without its query, which may hold a signature.
fn shown(address: &str) -> String {
    address.split(['?', '#']).next().unwrap_or_default().to_owned()
}

/// Resolves a redirect: an absolute URL, or a path on the same server.
fn resolve(from: &Uri, location: &str) -> Option<String> {
    if location.starts_with("http://") || location.starts_with("https://") {
        return Some(location.to_owned());
    }
    let server = format!("{}://{}", from.scheme_str()?, from.authority()?);
    let is_path = location.starts_with('/') && !location.starts_with("//");
    is_path.then(|| format!("{server}{location}"))
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
