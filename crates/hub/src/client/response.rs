//! HTTP responses for files, and their headers.

use ureq::Body;
use ureq::http::{HeaderMap, Response};

use crate::digest::Expected;
use crate::identifiers::is_hexadecimal;
use crate::sha256::Sha256;

/// A response for a file.
pub(super) struct FileResponse {
    /// The response body.
    pub body: Body,
    /// The URL of the response, without its query.
    pub server: String,
    /// The start of the bytes; shows whether the server honoured the requested range.
    pub start: Start,
    /// Metadata from the Hub's headers.
    pub metadata: HubMetadata,
    /// The file size according to the response's own headers.
    total: Option<u64>,
}

/// The start of the bytes in a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// The start of the file.
    Beginning,
    /// A byte offset.
    Byte(u64),
    /// No bytes: the requested range is not in the file.
    OutOfRange,
}

/// Metadata from the Hub's headers. Headers of a store that the Hub redirects to are not used.
#[derive(Debug, Default)]
pub(super) struct HubMetadata {
    bytes: Option<u64>,
    etag: Option<String>,
}

/// Returns a header as text.
pub(super) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

impl HubMetadata {
    /// Adds the headers of a Hub response. Earlier values take precedence.
    pub(super) fn add_headers(&mut self, headers: &HeaderMap) {
        let number = |name| header(headers, name).and_then(|text| text.parse().ok());
        let tag = |name| header(headers, name).map(|tag| tag.trim_start_matches("W/").trim_matches('"').to_owned());
        self.bytes = self.bytes.or_else(|| number("x-linked-size"));
        self.etag = self.etag.take().or_else(|| tag("x-linked-etag")).or_else(|| tag("etag"));
    }

    /// Fills in what the repository listing lacks. The `ETag` of a large file is its SHA-256, that of a small file its
    /// git blob id.
    pub(super) fn complete(&self, expected: &mut Expected) {
        expected.bytes = expected.bytes.or(self.bytes);
        if let Some(etag) = self.etag.as_ref().filter(|_| expected.large.is_none() && expected.blob.is_none()) {
            expected.large = Sha256::try_from(etag.clone()).ok();
            expected.blob = is_hexadecimal(etag, 40).then(|| etag.to_ascii_lowercase());
        }
    }
}

impl FileResponse {
    pub(super) fn new(response: Response<Body>, metadata: HubMetadata, server: String) -> Self {
        let range = header(response.headers(), "content-range").and_then(|text| ContentRange::parse(&text));
        let start = match (response.status().as_u16(), range) {
            (206, Some(range)) => Start::Byte(range.start),
            // A partial response without its range cannot be used.
            (206, None) | (416, _) => Start::OutOfRange,
            _ => Start::Beginning,
        };
        let total = match start {
            Start::Beginning => response.body().content_length(),
            Start::Byte(_) => range.and_then(|range| range.total),
            Start::OutOfRange => None,
        };
        Self { body: response.into_body(), server, start, metadata, total }
    }

    /// Fills in what the repository listing lacks.
    pub(super) fn complete(&self, expected: &mut Expected) {
        self.metadata.complete(expected);
        expected.bytes = expected.bytes.or(self.total);
    }
}

/// `Content-Range: bytes 10-99/100`.
#[derive(Clone, Copy)]
struct ContentRange {
    start: u64,
    total: Option<u64>,
}

impl ContentRange {
    fn parse(text: &str) -> Option<Self> {
        let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
        let (start, _) = range.split_once('-')?;
        Some(Self { start: start.parse().ok()?, total: total.parse().ok() })
    }
}
