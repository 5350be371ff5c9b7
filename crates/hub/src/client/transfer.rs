//! Downloads a file from the Hub: resumes partial downloads and verifies hashes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use hayloft_runtime::Gauge;

use super::Hub;
use super::request_failure::RequestFailure;
use super::response::{FileResponse, Start};
use crate::digest::{Expected, Hashing};
use crate::error::HubError;
use crate::identifiers::{Commit, FileName};
use crate::repository::Repository;
use crate::sha256::Sha256;

const BUFFER: usize = 1 << 18;

/// A complete file whose hashes are right.
#[derive(Debug)]
pub struct Downloaded {
    /// The size in bytes.
    pub bytes: u64,
    /// The SHA-256 of the bytes.
    pub sha256: Sha256,
    /// What the listing and the Hub's headers say of the file.
    pub expected: Expected,
    /// Bytes received over the network.
    pub received: u64,
}

/// Downloads a file of a repository into `partial`, and resumes an earlier attempt that left its bytes there. If a hash
/// is wrong, the file is removed.
pub fn download(
    hub: &Hub,
    repository: &Repository,
    commit: &Commit,
    (name, expected): (&FileName, &Expected),
    partial: &Path,
    gauge: &Gauge,
) -> Result<Downloaded, HubError> {
    let address = hub.address(repository, commit, name);
    let mut download = Download::resume(partial.to_owned(), expected.clone(), repository.file(name), gauge)?;
    hub.with_retries(|| download.attempt(hub, repository, &address))?;
    download.finish()
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
    fn resume(path: PathBuf, expected: Expected, what: String, gauge: &'gauge Gauge) -> Result<Self, HubError> {
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(|cause| HubError::io(&path, "create", cause))?;
        let mut hashing = Hashing::new(&expected);
        hashing.read(&path, |bytes| gauge.advance(bytes)).map_err(|cause| HubError::io(&path, "read", cause))?;
        let bytes = hashing.bytes;
        if bytes > 0 {
            tracing::info!(bytes, of = expected.bytes, "{what}: going on where it stopped");
        }
        Ok(Self { path, file, hashing, expected, what, gauge, received: 0 })
    }

    /// Discards the partial content.
    fn start_over(&mut self) -> Result<(), HubError> {
        self.file.set_len(0).map_err(|cause| HubError::io(&self.path, "empty", cause))?;
        self.hashing = Hashing::new(&self.expected);
        Ok(())
    }

    /// Requests the missing bytes and writes them.
    fn attempt(&mut self, hub: &Hub, repository: &Repository, address: &str) -> Result<(), RequestFailure> {
        if self.expected.bytes.is_some_and(|bytes| self.hashing.bytes > bytes) {
            self.start_over()?;
        }
        if self.hashing.bytes > 0 && self.expected.bytes == Some(self.hashing.bytes) {
            return Ok(());
        }
        let answer = hub.open(repository, &self.what, address, self.hashing.bytes)?;
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
                return Err(HubError::Response { what: self.what.clone(), server, problem }.into());
            }
            let bytes = &buffer[..count];
            self.file.write_all(bytes).map_err(|cause| HubError::io(&self.path, "write", cause))?;
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
        let error = HubError::Interrupted {
            what: self.what.clone(),
            expected: self.expected.bytes.map_or_else(|| "more".to_owned(), |bytes| bytes.to_string()),
            got: self.hashing.bytes,
            cause: cause.to_string(),
        };
        RequestFailure::Transient { error: Box::new(error), asked_for: None, received: self.received - received_before }
    }

    /// Checks the hashes. Removes the file if one is wrong.
    fn finish(self) -> Result<Downloaded, HubError> {
        self.file.sync_all().map_err(|cause| HubError::io(&self.path, "write", cause))?;
        let (bytes, received) = (self.hashing.bytes, self.received);
        match self.hashing.finish(&self.expected, &self.what) {
            Ok(sha256) => Ok(Downloaded { bytes, sha256, expected: self.expected, received }),
            Err(error) => {
                fs::remove_file(&self.path).map_err(|cause| HubError::io(&self.path, "remove", cause))?;
                Err(error)
            }
        }
    }
}
