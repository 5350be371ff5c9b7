//! Objects of one place, read and written by callers that wait. Behind it a private runtime and a client per place.

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
use crate::fs::folder::plain_path;
use crate::fs::lock::host_name;
use crate::remote::connect::connect;
use crate::remote::failure::{failed, is_absent, is_condition, mend};
use crate::remote::location::{Location, Service};
use crate::remote::options::RemoteOptions;
use crate::remote::traffic::{Counters, Traffic};
use crate::workers::CLAIMS_FOLDER;

/// S3 refuses smaller parts, but for the last.
const SMALLEST_PART: u64 = 5 << 20;

/// S3 refuses more parts than this.
const MOST_PARTS: u64 = 10_000;

/// More than any JSON file of a cache needs.
const MAX_WHOLE: u64 = 1 << 30;

/// How often a large file is begun where the service knows nothing of its parts: an answer that it is whole can be lost.
const UPLOADS: usize = 3;

/// How often an object that is there is created before a service is taken for one that ignores conditions.
const CREATIONS: usize = 5;

/// Parts of one file that are sent at a time.
const PARTS_AT_ONCE: usize = 4;

/// The name under which a service keeps a file's hash beside it.
const BLAKE3: &str = "blake3";

/// An object that was read as a whole, and which version of it that was.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) bytes: Bytes,
    pub(crate) version: UpdateVersion,
}

/// What a service says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) bytes: u64,
    /// The hash that whoever wrote it said that it has.
    pub(crate) blake3: Option<String>,
}

/// Whether a service refuses a write whose condition does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conditions {
    Unknown,
    Kept,
    Ignored,
}

/// What is at one location. Any number of threads may use it.
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
    /// A client for `location`. Nothing is asked yet.
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

    /// Takes note that a file is begun again.
    pub(crate) fn repeat(&self) {
        self.counters.repeat();
    }

    /// A JSON file as a whole; none if it is not there.
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

    /// A stretch of an object, all of it.
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

    /// The bytes of an object, without reading it; none if it is not there.
    pub(crate) fn size(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.look_at(name)?.map(|seen| seen.bytes))
    }

    /// What is known of an object without reading it; none if it is not there.
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

    /// Writes an object that must not be there yet, in one step. `false` if one is there, which may be this one: an
    /// answer can be lost.
    ///
    /// # Errors
    /// [`StoreError::Remote`] where the service would not refuse to.
    pub(crate) fn create(&self, name: &str, bytes: &Bytes) -> Result<bool> {
        self.check_conditions()?;
        self.put_if(name, bytes, &PutMode::Create)
    }

    /// Writes an object, in one step, if it is still at `version`: otherwise `false`, which may also be because it was
    /// written by this and the answer was lost.
    ///
    /// A folder cannot compare: its caller must hold its lock.
    ///
    /// # Errors
    /// [`StoreError::Remote`] where the service would not refuse to.
    pub(crate) fn update(&self, name: &str, bytes: &Bytes, version: UpdateVersion) -> Result<bool> {
        self.check_conditions()?;
        let compares = self.location.service() != Service::Folder;
        self.put_if(name, bytes, &if compares { PutMode::Update(version) } else { PutMode::Overwrite })
    }

    /// Sees to it, once, that the service refuses a write whose condition does not hold. One that does it all the same lets
    /// two who write at once undo what the other did.
    fn check_conditions(&self) -> Result<()> {
        if self.location.service() == Service::Folder {
            return Ok(());
        }
        let mut conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        if *conditions == Conditions::Unknown {
            // Of this machine: who is killed here leaves an empty object that the next who is not removes.
            let name = format!("{CLAIMS_FOLDER}/conditions-{}", &blake3::hash(host_name().as_bytes()).to_hex()[..16]);
            let kept = self.keeps_conditions(&name);
            // Who may write and not remove leaves it there.
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

    /// Whether of a write that must be the first, and of one over a version that is not there, both are refused.
    fn keeps_conditions(&self, name: &str) -> Result<bool> {
        // Others on this machine may remove it just in between; not each time.
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

    /// Writes a small object, whatever is there.
    pub(crate) fn put(&self, name: &str, bytes: &Bytes) -> Result<()> {
        self.put_if(name, bytes, &PutMode::Overwrite).map(|_| ())
    }

    /// Writes a file of a cache, whatever is there. A service, unlike a folder, keeps its hash beside it.
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

    /// Removes an object; one that is not there is none to remove.
    pub(crate) fn delete(&self, name: &str) -> Result<()> {
        let path = self.path(name)?;
        self.or_none(self.ask(self.store.delete(&path)), name, "remove").map(|_| ())
    }

    /// Has the service copy an object over another: whether that is known to have worked. Not every service copies, nor objects of
    /// every size. In a folder, a copy would be a second name for the same file, which is no object of its own.
    pub(crate) fn copy(&self, from: &str, to: &str, bytes: u64) -> Result<bool> {
        if self.location.service() == Service::Folder {
            return Ok(false);
        }
        let (from, to_path) = (self.path(from)?, self.path(to)?);
        let copied = self.ask(self.store.copy(&from, &to_path));
        Ok(copied.is_ok() && self.size(to)? == Some(bytes))
    }

    /// The names of the objects below `folder`, however deep.
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
            // S3 says of an object that has gone that it is not there.
            Err(error) if matches!(mode, PutMode::Update(_)) && is_absent(&error) => Ok(false),
            Err(error) => Err(self.error(name, "write", &error)),
        }
    }

    /// Writes a large object in parts, some at a time. It appears when all are there.
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
                // What the service keeps of it would only cost money; the first error is the one to tell.
                let _ = upload.abort().await;
                Err(error)
            }
        }
    }

    /// Waits for an answer.
    fn ask<T>(&self, answer: impl Future<Output = object_store::Result<T>>) -> object_store::Result<T> {
        self.counters.request();
        runtime()?.block_on(answer)
    }

    fn error(&self, name: &str, action: &'static str, error: &Error) -> StoreError {
        failed(&self.location, &self.options.environment, self.location.join(name), action, error)
    }

    /// Nothing where there is no such object; where there is no such bucket, an error.
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

    /// Where the object of this name is.
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

/// The runtime that all requests of this process run on; it is started by the first.
fn runtime() -> object_store::Result<&'static Runtime> {
    static RUNTIME: OnceLock<std::io::Result<Runtime>> = OnceLock::new();
    let started = RUNTIME
        .get_or_init(|| Builder::new_multi_thread().worker_threads(2).thread_name("remote").enable_all().build());
    started.as_ref().map_err(|error| {
        let source = format!("cannot start threads for requests: {error}").into();
        Error::Generic { store: "requests", source }
    })
}
