//! Failures of a request, and whether to retry.

use std::time::Duration;

use ureq::http::HeaderMap;

use super::response::header;
use crate::error::HubError;
use crate::repository::{NamedIn, Repository};
use crate::settings::HubSettings;

/// A failure of a request.
pub(super) enum RequestFailure {
    /// Permanent: a retry fails too.
    Permanent(Box<HubError>),
    /// Transient: a retry may succeed.
    Transient {
        error: Box<HubError>,
        /// The wait that the server requests.
        asked_for: Option<Duration>,
        /// Bytes received before the failure.
        received: u64,
    },
}

impl From<HubError> for RequestFailure {
    fn from(error: HubError) -> Self {
        Self::Permanent(Box::new(error))
    }
}

impl RequestFailure {
    /// Creates a transient failure.
    pub(super) fn transient(error: HubError) -> Self {
        Self::Transient { error: Box::new(error), asked_for: None, received: 0 }
    }

    /// Classifies a request without a response. `server` is a URL without its query.
    pub(super) fn unreachable(error: &ureq::Error, what: &str, server: &str) -> Self {
        let passing = matches!(
            error,
            ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::HostNotFound | ureq::Error::ConnectionFailed
        );
        let (what, server, cause) = (what.to_owned(), server.to_owned(), error.to_string());
        let error = HubError::Unreachable { what, server, cause };
        if passing { Self::transient(error) } else { error.into() }
    }
}

/// A request with an unsuccessful response.
pub(super) struct Refused<'a> {
    pub settings: &'a HubSettings,
    pub repository: &'a Repository,
    /// The request, for messages.
    pub what: &'a str,
    /// The URL of the response, without its query.
    pub server: &'a str,
    /// Whether the server is the Hub, not a store that it redirects to.
    pub is_hub: bool,
    pub status: u16,
    pub headers: &'a HeaderMap,
}

impl From<Refused<'_>> for RequestFailure {
    fn from(refused: Refused<'_>) -> Self {
        match refused.status {
            429 => refused.too_many(),
            401 | 403 | 404 if refused.is_hub => refused.by_hub().into(),
            status => {
                let error =
                    HubError::Status { what: refused.what.to_owned(), server: refused.server.to_owned(), status };
                // A store's signed URL may have expired; the Hub issues a new one on retry.
                if status >= 500 || status == 408 || !refused.is_hub { Self::transient(error) } else { error.into() }
            }
        }
    }
}

impl Refused<'_> {
    fn endpoint(&self) -> String {
        self.settings.endpoint.address.clone()
    }

    fn too_many(&self) -> RequestFailure {
        let asked_for = header(self.headers, "retry-after").and_then(|text| text.trim().parse().ok());
        let asked = asked_for.map_or(String::new(), |seconds: u64| format!(", and to wait {seconds} s"));
        let error = HubError::RateLimited { what: self.what.to_owned(), endpoint: self.endpoint(), attempts: 1, asked };
        RequestFailure::Transient { error: Box::new(error), asked_for: asked_for.map(Duration::from_secs), received: 0 }
    }

    /// Classifies 401, 403 and 404 from the Hub by its error header.
    fn by_hub(&self) -> HubError {
        let code = header(self.headers, "x-error-code").unwrap_or_default();
        let (repo, endpoint) = (self.repository.id.to_string(), self.endpoint());
        let sent = match &self.settings.token {
            Some(token) => format!("with the token in {}", token.source),
            None => "without a token".to_owned(),
        };
        match (self.status, code.as_str()) {
            (403, _) | (401, "GatedRepo") => {
                let page = self.repository.repo().url();
                HubError::Gated { repo, endpoint, sent, page }
            }
            (401, _) => HubError::Unauthorised { repo, endpoint, sent },
            (_, code) => {
                let (missing, key) = match code {
                    "RevisionNotFound" => ("revision", "revision"),
                    "EntryNotFound" => ("file", "files or revision"),
                    _ => ("repository", "repo (or models, datasets, saes: the kind decides where it is looked for)"),
                };
                let advice = match self.repository.named_in {
                    NamedIn::FetchManifest => format!("Correct {key} in the fetch manifest"),
                    NamedIn::Argument => format!("Correct the {missing}'s name"),
                };
                HubError::NotFound { what: self.what.to_owned(), endpoint, missing, advice }
            }
        }
    }
}
