//! A blocking client for the objects of one location, on top of a private async runtime.

use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions,
    PutOptions, PutPayload, UpdateVersion,
};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::error::{Result, StoreError};
use crate::format::shard_record::CLAIMS_FOLDER;
use crate::fs::folder::plain_path;
use crate::fs::lock::host_name;
use crate::remote::connect::connect;
use crate::remote::failure::{failed, is_absent, is_condition, mend};
use crate::remote::location::{Location, Service};
use crate::remote::options::RemoteOptions;
use crate::remote::traffic::{Counters, Traffic};

/// S3 refuses smaller parts, except for the last.
const SMALLEST_PART: u64 = 5 << 20;

/// S3 refuses more parts than this.
const MOST_PARTS: u64 = 10_000;

/// Upper bound on the size of a JSON file of a cache.
const MAX_WHOLE: u64 = 1 << 30;

/// Tries of a multipart upload that the service no longer knows: the response that it is complete may have been lost.
const UPLOADS: usize = 3;

/// How often an existing object is created before the service is taken to ignore conditions.
const CREATIONS: usize = 5;

/// Parts of one file in flight.
const PARTS_AT_ONCE: usize = 4;

/// The metadata key that holds a file's hash.
const BLAKE3: &str = "blake3";

/// An object read as a whole, and its version.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) bytes: Bytes,
    pub(crate) version: UpdateVersion,
}

/// The metadata of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) bytes: u64,
    /// The hash that its writer recorded.
    pub(crate) blake3: Option<String>,
}

/// Whether a service honours conditional writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conditions {
    Unknown,
    Kept,
    Ignored,
}

/// The objects at one location. Safe to share between threads.
#[derive(Debug)]
pub(crate) struct Remote {
    location: Location,
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    options: RemoteOptions,
    counters: Arc<Counters>,
    conditions: Mutex<Conditions>,
}

impl Remote {
    /// Creates a client for `location`, without sending a request.
    pub(crate) fn connect(location: &Location, options: &RemoteOptions) -> Result<Self> {
        let counters = Arc::default();
        let (store, prefix) = connect(location, options, &counters)?;
        let (location, options) = (location.clone(), options.clone());
        Ok(Self { location, store, prefix, options, counters, conditions: Mutex::new(Conditions::Unknown) })
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

    /// Counts a file that is read again.
    pub(crate) fn repeat(&self) {
        self.counters.repeat();
    }

    /// Reads a whole JSON file; `None` if it does not exist.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Fetched>> {
        let path = self.path(name)?;
        let read = self.ask(async {
            let got = self.store.get_opts(&path, GetOptions::default()).await?;
            if got.meta.size > MAX_WHOLE {
                let source = format!("{} bytes, more than any such file has", got.meta.size).into();
                return Err(Error::Generic { store: "answer", source });
            }
            let version = UpdateVersion { e_tag: got.meta.e_tag.clone(), version: got.meta.version.clone() };
            Ok(Fetched { bytes: got.bytes().await?, version })
        });
        let Some(fetched) = self.or_none(read, name, "read")? else { return Ok(None) };
        if fetched.bytes.trim_ascii_start().starts_with(b"<") {
            let advice = format!("The server may answer every address with a page. {}", mend(&self.location));
            return Err(self.wrong(name, "a JSON file of a cache", "an HTML or XML page", &advice));
        }
        self.counters.receive(fetched.bytes.len());
        Ok(Some(fetched))
    }

    /// Reads a range of an object. A short read is an error.
    pub(crate) fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        let path = self.path(name)?;
        let wanted = range.end - range.start;
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let read = self.ask(async { self.store.get_opts(&path, options).await?.bytes().await });
        let bytes = read.map_err(|error| self.error(name, "read", &error))?;
        let got = bytes.len() as u64;
        if got != wanted {
            let (expected, got) = (format!("{wanted} bytes"), format!("{got}: the object is cut short"));
            return Err(self.wrong(name, &expected, &got, &mend(&self.location)));
        }
        self.counters.receive(bytes.len());
        Ok(bytes)
    }

    /// Returns the size of an object; `None` if it does not exist.
    pub(crate) fn size(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.look_at(name)?.map(|seen| seen.bytes))
    }

    /// Returns the metadata of an object; `None` if it does not exist.
    pub(crate) fn look_at(&self, name: &str) -> Result<Option<Seen>> {
        let path = self.path(name)?;
        let options = GetOptions { head: true, ..GetOptions::default() };
        let asked = self.ask(async {
            let got = self.store.get_opts(&path, options).await?;
            let blake3 = got.attributes.get(&Attribute::Metadata(BLAKE3.into())).map(|value| value.to_string());
            Ok(Seen { bytes: got.meta.size, blake3 })
        });
        self.or_none(asked, name, "look at")
    }

    /// Creates an object atomically if it does not exist. Returns `false` if one exists, which may be this one: the response
    /// to an earlier try may have been lost.
    ///
    /// # Errors
    /// [`StoreError::Remote`] if the service ignores conditions.
    pub(crate) fn create(&self, name: &str, bytes: &Bytes) -> Result<bool> {
        self.check_conditions()?;
        self.put_if(name, bytes, &PutMode::Create)
    }

    /// Replaces an object atomically if it is still at `version`. Returns `false` otherwise, which may also mean that an
    /// earlier try succeeded and its response was lost.
    ///
    /// A folder cannot compare versions: the caller must hold its lock.
    ///
    /// # Errors
    /// [`StoreError::Remote`] if the service ignores conditions.
    pub(crate) fn update(&self, name: &str, bytes: &Bytes, version: UpdateVersion) -> Result<bool> {
        self.check_conditions()?;
        let compares = self.location.service() != Service::Folder;
        self.put_if(name, bytes, &if compares { PutMode::Update(version) } else { PutMode::Overwrite })
    }

    /// Checks once that the service honours conditional writes. Without them, concurrent writers would undo each other's
    /// work.
    fn check_conditions(&self) -> Result<()> {
        if self.location.service() == Service::Folder {
            return Ok(());
        }
        let mut conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        if *conditions == Conditions::Unknown {
            // Named after this machine: the next process here removes an object that a killed one left.
            let name = format!("{CLAIMS_FOLDER}/conditions-{}", &blake3::hash(host_name().as_bytes()).to_hex()[..16]);
            let kept = self.keeps_conditions(&name);
            // Credentials may allow writes but not deletes.
            if let Err(error) = self.delete(&name) {
                tracing::warn!(%error, "an empty object stays, which showed whether conditions are kept");
            }
            *conditions = if kept? { Conditions::Kept } else { Conditions::Ignored };
        }
        if *conditions == Conditions::Kept {
            return Ok(());
        }
        Err(StoreError::Remote {
            url: self.location.to_string(),
            action: "write to",
            expected: "a service that refuses a write whose condition (If-None-Match, If-Match) does not hold".into(),
            got: "one that writes all the same: this service ignores conditional writes".into(),
            advice: "Two who write to it at once would lose shards without a word. Use a service that keeps conditions, or a file:// folder".into(),
        })
    }

    /// Whether the service refuses both to create an existing object and to update a version that does not exist.
    fn keeps_conditions(&self, name: &str) -> Result<bool> {
        // Another process on this machine may delete the object in between, but not every time.
        let mut refused = false;
        for _ in 0..=CREATIONS {
            refused = !self.put_if(name, &Bytes::new(), &PutMode::Create)?;
            if refused {
                break;
            }
        }
        let elsewhere = UpdateVersion { e_tag: Some(format!("\"{:032x}\"", 1)), version: Some("1".to_owned()) };
        Ok(refused && !self.put_if(name, &Bytes::new(), &PutMode::Update(elsewhere))?)
    }

    /// Writes a small object unconditionally.
    pub(crate) fn put(&self, name: &str, bytes: &Bytes) -> Result<()> {
        self.put_if(name, bytes, &PutMode::Overwrite).map(|_| ())
    }

    /// Writes a file of a cache unconditionally. A service, unlike a folder, keeps its hash as metadata.
    pub(crate) fn put_file(&self, name: &str, bytes: &Bytes, blake3: &str) -> Result<()> {
        if self.location.service() == Service::Folder {
            return self.put(name, bytes);
        }
        let path = self.path(name)?;
        let mut attributes = Attributes::new();
        attributes.insert(Attribute::Metadata(BLAKE3.into()), blake3.to_owned().into());
        let part_bytes = self.options.part_bytes.max(SMALLEST_PART).max((bytes.len() as u64).div_ceil(MOST_PARTS));
        let mut written = Ok(());
        for _ in 0..UPLOADS {
            let attributes = attributes.clone();
            written = if bytes.len() as u64 > part_bytes {
                self.ask(self.put_parts(&path, bytes, attributes, part_bytes as usize))
            } else {
                let options = PutOptions { attributes, ..PutOptions::default() };
                self.ask(async { self.store.put_opts(&path, bytes.clone().into(), options).await.map(|_| ()) })
            };
            if !written.as_ref().is_err_and(is_absent) {
                break;
            }
        }
        written.map_err(|error| self.error(name, "write", &error))?;
        self.counters.send(bytes.len());
        Ok(())
    }

    /// Removes an object if it exists.
    pub(crate) fn delete(&self, name: &str) -> Result<()> {
        let path = self.path(name)?;
        self.or_none(self.ask(self.store.delete(&path)), name, "remove").map(|_| ())
    }

    /// Copies an object within the service, and returns whether that is known to have worked. Not every service copies, nor
    /// objects of every size. In a folder, a copy would be a hard link rather than a separate object, so the result is
    /// `false`.
    pub(crate) fn copy(&self, from: &str, to: &str, bytes: u64) -> Result<bool> {
        if self.location.service() == Service::Folder {
            return Ok(false);
        }
        let (from, to_path) = (self.path(from)?, self.path(to)?);
        let copied = self.ask(self.store.copy(&from, &to_path));
        Ok(copied.is_ok() && self.size(to)? == Some(bytes))
    }

    /// Lists the objects below `folder`, recursively.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<String>> {
        let path = self.path(folder)?;
        let listed = self.ask(self.store.list_with_delimiter(Some(&path)));
        let listed = self.or_none(listed, folder, "list")?;
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
        let payload = PutPayload::from(bytes.clone());
        match self.ask(self.store.put_opts(&path, payload, PutOptions::from(mode.clone()))) {
            Ok(_) => {
                self.counters.send(bytes.len());
                Ok(true)
            }
            Err(error) if *mode != PutMode::Overwrite && is_condition(&error) => Ok(false),
            // S3 reports a removed object as absent.
            Err(error) if matches!(mode, PutMode::Update(_)) && is_absent(&error) => Ok(false),
            Err(error) => Err(self.error(name, "write", &error)),
        }
    }

    /// Uploads a large object in parallel parts. It appears once all parts are there.
    async fn put_parts(
        &self,
        path: &Path,
        bytes: &Bytes,
        attributes: Attributes,
        part_bytes: usize,
    ) -> object_store::Result<()> {
        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        let mut upload = self.store.put_multipart_opts(path, options).await?;
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
            Ok(()) => upload.complete().await.map(|_| ()),
            Err(error) => {
                // Parts that the service keeps cost money. The first error is the one to return.
                let _ = upload.abort().await;
                Err(error)
            }
        }
    }

    /// Blocks on a request.
    fn ask<T>(&self, answer: impl Future<Output = object_store::Result<T>>) -> object_store::Result<T> {
        self.counters.request();
        runtime()?.block_on(answer)
    }

    fn error(&self, name: &str, action: &'static str, error: &Error) -> StoreError {
        failed(&self.location, &self.options.environment, self.location.join(name), action, error)
    }

    /// Returns `None` for a missing object. A missing bucket is an error.
    fn or_none<T>(&self, got: object_store::Result<T>, name: &str, action: &'static str) -> Result<Option<T>> {
        match got {
            Ok(got) => Ok(Some(got)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(self.error(name, action, &error)),
        }
    }

    fn wrong(&self, name: &str, expected: &str, got: &str, advice: &str) -> StoreError {
        let (url, action) = (self.location.join(name), "read");
        StoreError::Remote { url, action, expected: expected.into(), got: got.into(), advice: advice.into() }
    }

    /// Returns the path of an object.
    fn path(&self, name: &str) -> Result<Path> {
        if plain_path(name).is_none() {
            return Err(StoreError::LeavesFolder { path: self.location.to_string().into(), named: name.to_owned() });
        }
        Ok(name.split('/').fold(self.prefix.clone(), Path::join))
    }
}

fn joined(part: Option<Result<object_store::Result<()>, tokio::task::JoinError>>) -> object_store::Result<()> {
    match part {
        None => Ok(()),
        Some(Ok(sent)) => sent,
        Some(Err(source)) => Err(Error::JoinError { source }),
    }
}

/// The runtime for all requests of this process, started by the first.
fn runtime() -> object_store::Result<&'static Runtime> {
    static RUNTIME: OnceLock<std::io::Result<Runtime>> = OnceLock::new();
    let started = RUNTIME
        .get_or_init(|| Builder::new_multi_thread().worker_threads(2).thread_name("remote").enable_all().build());
    started.as_ref().map_err(|error| {
        let source = format!("cannot start threads for requests: {error}").into();
        Error::Generic { store: "requests", source }
    })
}
