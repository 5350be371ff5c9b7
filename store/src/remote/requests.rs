//! Sends requests. Retries happen only here: all tries of one request share one retry budget, and a permanent error ends it
//! at once.

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};

use crate::remote::cause::{Cause, Failure};
use crate::remote::environment::Environment;
use crate::remote::failure::{causes, scrubbed, with_causes};
use crate::remote::options::RemoteOptions;
use crate::remote::traffic::Counters;

/// Longest delay between tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Retry budget of the instance metadata service, which is either close or absent.
const NEAR_BUDGET: Duration = Duration::from_secs(2);

/// Upper bound on the size of a response read as a whole.
const MAX_ANSWER: u64 = 1 << 30;

/// Larger error responses are not read.
const MAX_REFUSAL: u64 = 1 << 20;

/// Upper bound on the characters quoted from a service's message.
const MAX_WORDS: usize = 200;

/// Creates clients that retry.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    counters: Arc<Counters>,
    /// Whether any request has been answered yet.
    reached: Arc<AtomicBool>,
    budget: Duration,
    pause: Duration,
    environment: Environment,
}

impl Requests {
    pub(crate) fn new(options: &RemoteOptions, counters: &Arc<Counters>) -> Self {
        Self {
            counters: Arc::clone(counters),
            reached: Arc::default(),
            budget: options.budget,
            pause: options.pause,
            environment: options.environment.clone(),
        }
    }
}

impl HttpConnector for Requests {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Trying { client, requests: self.clone() }))
    }
}

/// A client that retries.
#[derive(Debug)]
struct Trying {
    client: HttpClient,
    requests: Requests,
}

impl HttpService for Trying {
    fn call<'a, 'call>(
        &'a self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'call>>
    where
        'a: 'call,
        Self: 'call,
    {
        // A kind of error that the client does not retry.
        let failed = |failure| HttpError::new(HttpErrorKind::Unknown, failure);
        Box::pin(async move { self.try_often(request).await.map_err(failed) })
    }
}

impl Trying {
    async fn try_often(&self, request: HttpRequest) -> Result<HttpResponse, Failure> {
        let own = &self.requests;
        let budget = if is_near(&request) { own.budget.min(NEAR_BUDGET) } else { own.budget };
        let (begun, mut pause, mut tries) = (Instant::now(), own.pause, 0);
        loop {
            tries += 1;
            let left = budget.saturating_sub(begun.elapsed());
            let (cause, said) = match tokio::time::timeout(left, self.once(request.clone())).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(refusal)) => refusal,
                Err(_) => (Cause::Silent, "no answer in time".to_owned()),
            };
            let said = scrubbed(&said, &own.environment);
            let spent = begun.elapsed();
            if cause.is_final(own.reached.load(Ordering::Relaxed)) || spent + pause >= budget {
                return Err(Failure { cause, said, tries, spent, budget });
            }
            tracing::debug!(said, "{} {}: trying again", request.method(), request.uri().path());
            own.counters.repeat();
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One try, including the whole response body.
    async fn once(&self, request: HttpRequest) -> Result<HttpResponse, (Cause, String)> {
        let asked = Asked::of(&request);
        let response = self.client.execute(request).await.map_err(|error| of_transport(&error))?;
        self.requests.reached.store(true, Ordering::Relaxed);
        let (parts, body) = response.into_parts();
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let bytes: u64 = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let is_page = header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
        let broken = |error: HttpError| of_transport(&error);
        if !parts.status.is_success() {
            let body = if bytes > MAX_REFUSAL { Bytes::new() } else { body.bytes().await.map_err(broken)? };
            let refusal = Refusal::of(&body, header("x-ms-error-code"));
            let mut said = refusal.in_words(&parts.status.to_string());
            let cause = refusal.cause(parts.status.as_u16(), &asked);
            if cause == Cause::Redirect
                && let Some(region) = header("x-amz-bucket-region")
            {
                said = format!("{said}: the bucket is in the region {region}");
            }
            return Err((cause, if is_page { said + ", with an HTML page" } else { said }));
        }
        if let Some((first, last)) = asked.range {
            asked_range(first, last, parts.status.as_u16(), header("content-range"), is_page)?;
        }
        if bytes > MAX_ANSWER && !asked.head {
            return Err((Cause::Length, format!("{bytes} bytes, more than any such file has")));
        }
        let body = body.bytes().await.map_err(broken)?;
        if asked.post
            && let Some(said) = late_error(&body)
        {
            return Err((Cause::Busy, said));
        }
        Ok(HttpResponse::from_parts(parts, body.into()))
    }
}

/// The parts of a request that determine how its response is read.
struct Asked {
    head: bool,
    post: bool,
    /// Whether it is a conditional write.
    conditional: bool,
    /// The first and last byte of a range.
    range: Option<(u64, u64)>,
}

impl Asked {
    fn of(request: &HttpRequest) -> Self {
        let headers = request.headers();
        let conditions = ["if-none-match", "if-match", "x-goog-if-generation-match"];
        let range = headers.get("range").and_then(|range| range.to_str().ok());
        Self {
            head: request.method().as_str() == "HEAD",
            post: request.method().as_str() == "POST",
            conditional: conditions.iter().any(|name| headers.contains_key(*name)),
            range: range.and_then(|range| range.strip_prefix("bytes=")).and_then(both),
        }
    }
}

/// Parses two numbers separated by a hyphen.
fn both(range: &str) -> Option<(u64, u64)> {
    let (first, last) = range.split_once('-')?;
    first.parse().ok().zip(last.parse().ok())
}

/// Refuses a response with another range than requested.
fn asked_range(first: u64, last: u64, status: u16, got: Option<&str>, is_page: bool) -> Result<(), (Cause, String)> {
    if status != 206 {
        let all = if is_page { "an HTML page" } else { "all of it" };
        return Err((Cause::Page, format!("{all} in place of the bytes from {first} to {last}")));
    }
    let got = got.and_then(|range| range.trim().strip_prefix("bytes "));
    let Some((range, size)) = got.and_then(|range| range.split_once('/')) else { return Ok(()) };
    if both(range).is_some_and(|got| got != (first, last)) {
        return Err((Cause::Length, format!("an object of {size} bytes, of which {first} to {last} were asked for")));
    }
    Ok(())
}

/// A service's error response.
struct Refusal {
    code: String,
    message: String,
}

impl Refusal {
    fn of(body: &[u8], code: Option<&str>) -> Self {
        let body = String::from_utf8_lossy(body);
        let element = |name: &str| {
            let (_, rest) = body.split_once(&format!("<{name}>"))?;
            Some(rest.split_once(&format!("</{name}>"))?.0.trim().to_owned())
        };
        let code = code.map(str::to_owned).or_else(|| element("Code")).unwrap_or_default();
        // Without XML, the body may be a line of text; HTML or anything long is ignored.
        let text = || (!body.contains('<') && body.len() <= MAX_WORDS).then(|| body.trim().to_owned());
        Self { code, message: element("Message").or_else(text).unwrap_or_default() }
    }

    fn in_words(&self, status: &str) -> String {
        let words = [status, self.code.as_str(), self.message.as_str()].into_iter().filter(|words| !words.is_empty());
        let words = words.collect::<Vec<_>>().join(": ");
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        words.chars().filter(|letter| !letter.is_control()).take(MAX_WORDS).collect()
    }

    fn cause(&self, status: u16, asked: &Asked) -> Cause {
        let bucket = ["NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted"].contains(&self.code.as_str())
            || self.message.contains("bucket does not exist");
        match (status, self.code.as_str()) {
            (404 | 409, _) if bucket => Cause::NoBucket,
            // Azure's code for a condition that does not hold.
            (409, "BlobAlreadyExists") | (304 | 412, _) => Cause::Condition,
            (400, "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired") | (401 | 403, _) => Cause::Denied,
            (400, "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") | (300..400, _) => {
                Cause::Redirect
            }
            (404, _) => Cause::Absent,
            (405 | 501 | 505, _) => Cause::Unsupported,
            (416, _) => Cause::Length,
            (409, _) if asked.conditional => Cause::Busy,
            (408 | 429 | 500.., _) => Cause::Busy,
            _ => Cause::Refused,
        }
    }
}

/// Returns the error in a response whose status was a success. S3 may fail to combine parts after it has sent the status.
/// Errors in Azure batch responses concern single requests and are left alone.
fn late_error(body: &[u8]) -> Option<String> {
    let refusal = Refusal::of(body, None);
    let is_late = ["InternalError", "SlowDown", "ServiceUnavailable"].contains(&refusal.code.as_str());
    is_late.then(|| refusal.in_words("an error"))
}

/// Classifies an error without a complete response.
fn of_transport(error: &HttpError) -> (Cause, String) {
    let all = causes(error);
    let io_kind = |kind| {
        all.iter().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error: &io::Error| error.kind() == kind))
    };
    let client = all.iter().find_map(|cause| cause.downcast_ref::<reqwest::Error>());
    let cause = if all.iter().any(|cause| cause.is::<rustls::Error>()) {
        Cause::Certificate
    } else if client.is_some_and(reqwest::Error::is_builder) {
        Cause::Setting
    } else if client.is_some_and(reqwest::Error::is_redirect) {
        Cause::Redirect
    } else if io_kind(io::ErrorKind::ConnectionRefused) {
        Cause::NotListening
    } else if all.iter().any(|cause| cause.to_string().contains("dns error")) {
        Cause::UnknownHost
    } else if error.kind() == HttpErrorKind::Timeout {
        Cause::Silent
    } else {
        Cause::Broken
    };
    (cause, with_causes(error as &(dyn Error + 'static)))
}

/// Whether a request goes to the instance metadata service of a cloud.
fn is_near(request: &HttpRequest) -> bool {
    let host = request.uri().host().unwrap_or_default();
    host.starts_with("169.254.") || host.starts_with("metadata.google")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(status: u16, body: &str, conditional: bool) -> Cause {
        let asked = Asked { head: false, post: false, conditional, range: None };
        Refusal::of(body.as_bytes(), None).cause(status, &asked)
    }

    #[test]
    fn what_no_try_can_mend_is_final() {
        let code = |code: &str| format!("<?xml?><Error><Code>{code}</Code><Message>why</Message></Error>");
        for (status, body, conditional, expected, is_final) in [
            (404, code("NoSuchKey"), false, Cause::Absent, true),
            (404, code("NoSuchBucket"), false, Cause::NoBucket, true),
            (404, code("ContainerNotFound"), false, Cause::NoBucket, true),
            (403, code("AccessDenied"), false, Cause::Denied, true),
            (400, code("ExpiredToken"), false, Cause::Denied, true),
            (400, code("InvalidArgument"), false, Cause::Refused, true),
            (301, code("PermanentRedirect"), false, Cause::Redirect, true),
            (501, code("NotImplemented"), true, Cause::Unsupported, true),
            (416, code("InvalidRange"), false, Cause::Length, true),
            (412, code("PreconditionFailed"), true, Cause::Condition, true),
            (409, code("BlobAlreadyExists"), true, Cause::Condition, true),
            (409, code("Other"), false, Cause::Refused, true),
            (409, code("ConditionalRequestConflict"), true, Cause::Busy, false),
            (408, String::new(), false, Cause::Busy, false),
            (429, String::new(), false, Cause::Busy, false),
            (500, String::new(), false, Cause::Busy, false),
            (503, code("SlowDown"), false, Cause::Busy, false),
        ] {
            let got = cause(status, &body, conditional);
            assert_eq!((got, got.is_final(true)), (expected, is_final), "{status} {body}");
        }
        assert!(Cause::NotListening.is_final(false) && !Cause::NotListening.is_final(true));
    }

    #[test]
    fn a_services_words_are_told_without_xml_and_pages() {
        let words = |body: &str| Refusal::of(body.as_bytes(), None).in_words("403 Forbidden");
        let body = "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>Not\n you</Message><HostId>x</HostId></Error>";
        assert_eq!(words(body), "403 Forbidden: AccessDenied: Not you");
        assert_eq!(words("<html><body>Go away</body></html>"), "403 Forbidden");
        assert_eq!(words("no\n"), "403 Forbidden: no");
        assert_eq!(words(&"x".repeat(5000)), "403 Forbidden");
    }

    #[test]
    fn an_error_in_a_success_is_one_if_the_service_says_that_it_cannot() {
        let body = |code: &str| format!("<Error><Code>{code}</Code><Message>why</Message></Error>");
        assert_eq!(late_error(body("InternalError").as_bytes()).unwrap(), "an error: InternalError: why");
        // One request of an Azure batch, which removes an object that does not exist.
        let batch =
            format!("--batch\r\nHTTP/1.1 404 The specified blob does not exist.\r\n\r\n{}", body("BlobNotFound"));
        assert_eq!(late_error(batch.as_bytes()), None);
        assert_eq!(late_error(b"<CompleteMultipartUploadResult/>"), None);
    }

    #[test]
    fn another_part_than_the_one_asked_for_is_refused() {
        let got = |status, range, is_page| asked_range(10, 19, status, range, is_page).map_err(|(cause, _)| cause);
        assert_eq!(got(206, Some("bytes 10-19/40"), false), Ok(()));
        assert_eq!(got(206, Some("bytes 10-14/15"), false), Err(Cause::Length));
        assert_eq!(got(200, None, true), Err(Cause::Page));
    }
}
