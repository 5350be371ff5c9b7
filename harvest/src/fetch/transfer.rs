//! Downloads a file from the Hub: resumes partial downloads and verifies hashes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use hayloft_runtime::Gauge;

use super::digest::{Expected, Hashing};
use super::hub::Hub;
use super::identifiers::Commit;
use super::listing::WantedFile;
use super::request_failure::RequestFailure;
use super::response::{FileResponse, Start};
use super::staging::Staging;
use super::{FetchEntry, FetchError, FetchedFile};
use crate::data::Sha256;

const BUFFER: usize = 1 << 18;

/// Downloads a file into `staging`, and resumes an earlier attempt. Returns the file's record and the number of bytes
/// received over the network.
pub(super) fn download(
    hub: &Hub,
    entry: &FetchEntry,
    commit: &Commit,
    file: &WantedFile,
    staging: &Staging,
    gauge: &Gauge,
) -> Result<(FetchedFile, u64), FetchError> {
    let what = entry.file(&file.remote);
    let address = hub.address(entry, commit, &file.remote);
    let mut download = Download::resume(staging.incomplete(commit, file)?, file.expected.clone(), what, gauge)?;
    hub.with_retries(|| download.attempt(hub, entry, &address))?;
    let received = download.received;
    let (path, bytes, sha256) = download.finish()?;
    staging.finish(&path, &file.local)?;
    Ok((FetchedFile { name: file.local.clone(), bytes, sha256 }, received))
}

/// A partial file with the hashes of its bytes so far.
struct Download<'gauge> {
    path: PathBuf,
    file: File,
    hashing: Hashing,
    expected: Expected,
    /// The file, for messages.
    what: String,
    gauge: &'gauge Gauge,
    /// Bytes received over the network.
    received: u64,
}

impl<'gauge> Download<'gauge> {
    /// Opens the partial file and hashes its content.
    fn resume(path: PathBuf, expected: Expected, what: String, gauge: &'gauge Gauge) -> Result<Self, FetchError> {
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(|cause| FetchError::io(&path, "create", cause))?;
        let mut hashing = Hashing::new(&expected);
        hashing.read(&path, |bytes| gauge.advance(bytes)).map_err(|cause| FetchError::io(&path, "read", cause))?;
        let bytes = hashing.bytes;
        if bytes > 0 {
            tracing::info!(bytes, of = expected.bytes, "{what}: going on where it stopped");
        }
        Ok(Self { path, file, hashing, expected, what, gauge, received: 0 })
    }

    /// Discards the partial content.
    fn start_over(&mut self) -> Result<(), FetchError> {
        self.file.set_len(0).map_err(|cause| FetchError::io(&self.path, "empty", cause))?;
        self.hashing = Hashing::new(&self.expected);
        Ok(())
    }

    /// Requests the missing bytes and writes them.
    fn attempt(&mut self, hub: &Hub, entry: &FetchEntry, address: &str) -> Result<(), RequestFailure> {
        if self.expected.bytes.is_some_and(|bytes| self.hashing.bytes > bytes) {
            self.start_over()?;
        }
        if self.hashing.bytes > 0 && self.expected.bytes == Some(self.hashing.bytes) {
            return Ok(());
        }
        let answer = hub.open(entry, &self.what, address, self.hashing.bytes)?;
        answer.complete(&mut self.expected);
        match answer.start {
            Start::Byte(start) if start == self.hashing.bytes => {}
            // The server sends the whole file, regardless of the requested range. A new hash also includes the size
            // from the response.
            Start::Beginning => self.start_over()?,
            Start::Byte(_) | Start::OutOfRange => {
                self.start_over()?;
                let cause = io::Error::other("the server sent another part of the file than was asked for");
                return Err(self.interrupted(&cause, self.received));
            }
        }
        self.take(answer)
    }

    /// Writes and hashes a response body.
    fn take(&mut self, answer: FileResponse) -> Result<(), RequestFailure> {
        let FileResponse { body, server, .. } = answer;
        let mut body = body.into_reader();
        let mut buffer = vec![0; BUFFER];
        let before = self.received;
        loop {
            let count = match body.read(&mut buffer) {
                Ok(count) => count,
                Err(cause) => return Err(self.interrupted(&cause, before)),
            };
            if count == 0 {
                break;
            }
            if let Some(bytes) = self.expected.bytes.filter(|bytes| self.hashing.bytes + count as u64 > *bytes) {
                self.start_over()?;
                let problem = format!("expected {bytes} bytes, got more");
                return Err(FetchError::Response { what: self.what.clone(), server, problem }.into());
            }
            let bytes = &buffer[..count];
            self.file.write_all(bytes).map_err(|cause| FetchError::io(&self.path, "write", cause))?;
            self.hashing.update(bytes);
            self.received += count as u64;
            self.gauge.advance(count as u64);
        }
        if self.expected.bytes.is_some_and(|bytes| self.hashing.bytes < bytes) {
            let cause = io::Error::from(io::ErrorKind::UnexpectedEof);
            return Err(self.interrupted(&cause, before));
        }
        Ok(())
    }

    fn interrupted(&self, cause: &io::Error, received_before: u64) -> RequestFailure {
        let error = FetchError::Interrupted {
            what: self.what.clone(),
            expected: self.expected.bytes.map_or_else(|| "more".to_owned(), |bytes| bytes.to_string()),
            got: self.hashing.bytes,
            cause: cause.to_string(),
        };
        RequestFailure::Transient { error: Box::new(error), asked_for: None, received: self.received - received_before }
    }

    /// Checks the hashes. Removes the file if one is wrong.
    fn finish(self) -> Result<(PathBuf, u64, Sha256), FetchError> {
        self.file.sync_all().map_err(|cause| FetchError::io(&self.path, "write", cause))?;
        let bytes = self.hashing.bytes;
        match self.hashing.finish(&self.expected, &self.what) {
            Ok(sha256) => Ok((self.path, bytes, sha256)),
            Err(error) => {
                fs::remove_file(&self.path).map_err(|cause| FetchError::io(&self.path, "remove", cause))?;
                Err(error)
            }
        }
    }
}
