//! Objects of one place, read and written by callers that wait. Behind it a private runtime and a client per place.

use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion,
};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::error::{Result, StoreError};
use crate::files::folder::plain_path;
use crate::remote::connect::connect;
use crate::remote::failure::{failed, scrubbed};
use crate::remote::location::{Location, Service};
use crate::remote::options::RemoteOptions;
use crate::remote::traffic::{Counters, Traffic};

/// S3 refuses smaller parts, but for the last.
const SMALLEST_PART: u64 = 5 << 20;

/// Parts of one file that are sent at a time.
const PARTS_AT_ONCE: usize = 4;

/// The longest that one waits before trying again.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// More than any JSON file of a cache needs.
const MAX_WHOLE: u64 = 1 << 30;

/// An object that was read as a whole, and which version of it that was.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) bytes: Bytes,
    pub(crate) version: UpdateVersion,
}

/// What is at one location. Any number of threads may use it.
#[derive(Debug)]
pub(crate) struct Remote {
    location: Location,
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    options: RemoteOptions,
    counters: Counters,
}

impl Remote {
    /// A client for `location`. Nothing is asked yet.
    pub(crate) fn connect(location: &Location, options: &RemoteOptions) -> Result<Self> {
        let (store, prefix) = connect(location, options)?;
        let (location, options) = (location.clone(), options.clone());
        Ok(Self { location, store, prefix, options, counters: Counters::default() })
    }

    pub(crate) fn location(&self) -> &Location {
        &self.location
    }

    pub(crate) fn options(&self) -> &RemoteOptions {
        &self.options
    }

    pub(crate) fn traffic(&self) -> Traffic {
        self.counters.so_far()
    }

    /// Takes note that a file is begun again.
    pub(crate) fn repeat(&self) {
        self.counters.repeat();
    }

    /// An object as a whole; none if it is not there.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Fetched>> {
        let path = self.path(name)?;
        let read = self.try_often(name, "read", || async {
            let got = self.store.get_opts(&path, GetOptions::default()).await?;
            let (size, version) =
                (got.meta.size, UpdateVersion { e_tag: got.meta.e_tag.clone(), version: got.meta.version.clone() });
            if size > MAX_WHOLE {
                return Err(generic(format!("{size} bytes, more than any such file has")));
            }
            let bytes = got.bytes().await?;
            whole(&bytes, size)?;
            Ok(Fetched { bytes, version })
        });
        let fetched = absent_is_none(read, |error| self.error(name, "read", error))?;
        if let Some(fetched) = &fetched {
            self.counters.receive(fetched.bytes.len());
        }
        Ok(fetched)
    }

    /// A stretch of an object, all of it.
    pub(crate) fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        let path = self.path(name)?;
        let read = self.try_often(name, "read", || async {
            let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
            let bytes = self.store.get_opts(&path, options).await?.bytes().await?;
            whole(&bytes, range.end - range.start)?;
            Ok(bytes)
        });
        let bytes = read.map_err(|error| self.error(name, "read", &error))?;
        self.counters.receive(bytes.len());
        Ok(bytes)
    }

    /// The bytes of an object, without reading it; none if it is not there.
    pub(crate) fn size(&self, name: &str) -> Result<Option<u64>> {
        let path = self.path(name)?;
        let asked = self.try_often(name, "look at", || async { Ok(self.store.head(&path).await?.size) });
        absent_is_none(asked, |error| self.error(name, "look at", error))
    }

    /// Writes an object that must not be there yet, in one step. `false` if one is there, which may be this one: an
    /// answer can be lost.
    pub(crate) fn create(&self, name: &str, bytes: &Bytes) -> Result<bool> {
        self.put_if(name, bytes, &PutMode::Create)
    }

    /// Writes an object, in one step, if it is still at `version`: otherwise `false`, which may also be because it was
    /// written by this and the answer was lost.
    ///
    /// A folder cannot compare: its caller must hold its lock.
    pub(crate) fn update(&self, name: &str, bytes: &Bytes, version: UpdateVersion) -> Result<bool> {
        let compares = self.location.service() != Service::Folder;
        self.put_if(name, bytes, &if compares { PutMode::Update(version) } else { PutMode::Overwrite })
    }

    /// Writes an object, whatever is there.
    pub(crate) fn put(&self, name: &str, bytes: &Bytes) -> Result<()> {
        if bytes.len() as u64 > self.sent_part_bytes() {
            return self.put_parts(name, bytes);
        }
        self.put_if(name, bytes, &PutMode::Overwrite).map(|_| ())
    }

    /// Removes an object; one that is not there is none to remove.
    pub(crate) fn delete(&self, name: &str) -> Result<()> {
        let path = self.path(name)?;
        let deleted = self.try_often(name, "remove", || async { self.store.delete(&path).await });
        absent_is_none(deleted, |error| self.error(name, "remove", error)).map(|_| ())
    }

    /// Has the service copy an object over another: whether that is known to have worked. Not every service copies, nor objects of
    /// every size. In a folder, a copy would be a second name for the same file, which is no object of its own.
    pub(crate) fn copy(&self, from: &str, to: &str, bytes: u64) -> Result<bool> {
        if self.location.service() == Service::Folder {
            return Ok(false);
        }
        let (from, to_path) = (self.path(from)?, self.path(to)?);
        let copied = self.try_often(to, "copy", || async { self.store.copy(&from, &to_path).await });
        Ok(copied.is_ok() && self.size(to)? == Some(bytes))
    }

    /// The names of the objects below `folder`, however deep.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<String>> {
        let path = self.path(folder)?;
        let listed = self.try_often(folder, "list", || async { self.store.list_with_delimiter(Some(&path)).await });
        let listed = absent_is_none(listed, |error| self.error(folder, "list", error))?;
        let (objects, folders) = listed.map(|listed| (listed.objects, listed.common_prefixes)).unwrap_or_default();
        let names = objects.iter().filter_map(|object| object.location.filename());
        let mut names: Vec<String> = names.map(|name| format!("{folder}/{name}")).collect();
        for inner in folders.iter().filter_map(Path::filename) {
            names.extend(self.list(&format!("{folder}/{inner}"))?);
        }
        Ok(names)
    }

    fn put_if(&self, name: &str, bytes: &Bytes, mode: &PutMode) -> Result<bool> {
        let path = self.path(name)?;
        let written = self.try_often(name, "write", || async {
            let payload = PutPayload::from(bytes.clone());
            self.store.put_opts(&path, payload, PutOptions::from(mode.clone())).await
        });
        match written {
            Ok(_) => {
                self.counters.send(bytes.len());
                Ok(true)
            }
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) if *mode != PutMode::Overwrite => Ok(false),
            Err(error) => Err(self.error(name, "write", &error)),
        }
    }

    fn sent_part_bytes(&self) -> u64 {
        self.options.part_bytes.max(SMALLEST_PART)
    }

    /// Writes a large object in parts, some at a time. It appears when all are there.
    fn put_parts(&self, name: &str, bytes: &Bytes) -> Result<()> {
        let path = self.path(name)?;
        let part_bytes = self.sent_part_bytes() as usize;
        let written = self.try_often(name, "write", || async {
            let mut upload = self.store.put_multipart(&path).await?;
            let mut parts = JoinSet::new();
            let mut sent = Ok(());
            for start in (0..bytes.len()).step_by(part_bytes) {
                if parts.len() == PARTS_AT_ONCE {
                    sent = joined(parts.join_next().await);
                }
                if sent.is_err() {
                    break;
                }
                self.counters.request();
                let part = bytes.slice(start..bytes.len().min(start + part_bytes));
                parts.spawn(upload.put_part(part.into()));
            }
            while let Some(part) = parts.join_next().await {
                sent = sent.and(joined(Some(part)));
            }
            match sent {
                Ok(()) => upload.complete().await,
                Err(error) => {
                    // What the service keeps of it would only cost money; the first error is the one to tell.
                    let _ = upload.abort().await;
                    Err(error)
                }
            }
        });
        written.map_err(|error| self.error(name, "write", &error))?;
        self.counters.send(bytes.len());
        Ok(())
    }

    /// Tries until it works, or fails for a reason that trying again does not change.
    fn try_often<T, F: Future<Output = object_store::Result<T>>>(
        &self,
        name: &str,
        action: &str,
        one_try: impl Fn() -> F,
    ) -> object_store::Result<T> {
        let (mut pause, mut tried) = (self.options.pause, 0);
        loop {
            tried += 1;
            self.counters.request();
            let error = match runtime()?.block_on(one_try()) {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let passing = matches!(error, Error::Generic { .. } | Error::JoinError { .. });
            if !passing || tried >= self.options.attempts || refused(&error) {
                return Err(error);
            }
            let problem = scrubbed(&error.to_string(), &self.options.environment);
            tracing::debug!(object = self.location.join(name), problem, "cannot {action}: trying again");
            self.counters.repeat();
            thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn error(&self, name: &str, action: &'static str, error: &Error) -> StoreError {
        let tries = if matches!(error, Error::Generic { .. }) && !refused(error) { self.options.attempts } else { 1 };
        failed(&self.location, &self.options, self.location.join(name), action, tries, error)
    }

    /// Where the object of this name is.
    fn path(&self, name: &str) -> Result<Path> {
        if plain_path(name).is_none() {
            return Err(StoreError::LeavesFolder { path: self.location.to_string().into(), named: name.to_owned() });
        }
        Ok(name.split('/').fold(self.prefix.clone(), Path::join))
    }
}

/// Whether the service understood the request and will not have it: asking again would be no use.
fn refused(error: &Error) -> bool {
    let words = error.to_string();
    words.contains("status code: 400") || words.contains("status code: 30")
}

fn joined(part: Option<Result<object_store::Result<()>, tokio::task::JoinError>>) -> object_store::Result<()> {
    match part {
        None => Ok(()),
        Some(Ok(sent)) => sent,
        Some(Err(source)) => Err(Error::JoinError { source }),
    }
}

/// Refuses a body that is shorter or longer than was said.
fn whole(bytes: &Bytes, expected: u64) -> object_store::Result<()> {
    let got = bytes.len() as u64;
    if got == expected { Ok(()) } else { Err(generic(format!("{got} bytes in place of {expected}"))) }
}

fn generic(problem: String) -> Error {
    Error::Generic { store: "answer", source: problem.into() }
}

fn absent_is_none<T>(got: object_store::Result<T>, to_error: impl FnOnce(&Error) -> StoreError) -> Result<Option<T>> {
    match got {
        Ok(got) => Ok(Some(got)),
        // A bucket that is not there must not be taken for one that is empty.
        Err(error @ Error::NotFound { .. }) if error.to_string().contains("NoSuchBucket") => Err(to_error(&error)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(to_error(&error)),
    }
}

/// The runtime that all requests of this process run on; it is started by the first.
fn runtime() -> object_store::Result<&'static Runtime> {
    static RUNTIME: OnceLock<std::io::Result<Runtime>> = OnceLock::new();
    let started = RUNTIME
        .get_or_init(|| Builder::new_multi_thread().worker_threads(2).thread_name("remote").enable_all().build());
    started.as_ref().map_err(|error| generic(format!("cannot start threads for requests: {error}")))
}
