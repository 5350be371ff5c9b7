//! Uploads a cache.

pub(crate) mod manifest;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde::Serialize;

use crate::error::{Result, StoreError};
use crate::format::manifest::MANIFEST_FILE;
use crate::format::plan::{PLAN_FILE, PlanReader};
use crate::format::records::{FileRecord, ShardRecord};
use crate::format::shard_record::CLAIMS_FOLDER;
use crate::format::shard_record::WrittenShard;
use crate::fs::folder::Folder;
use crate::fs::hash::{blake3_hex, check_file, map_sized};
use crate::fs::json;
use crate::fs::lock::Lock;
use crate::fs::machine::machine;
use crate::fs::staged::create_folders;
use crate::read::cache::Cache;
use crate::remote::blocking::{Remote, Seen};
use crate::remote::location::Location;
use crate::remote::options::RemoteOptions;
use crate::remote::push::manifest::{check_same, push_manifest, read_manifest};
use crate::remote::traffic::{Moved, Traffic};
use crate::remote::workers::in_parallel;

/// The result of [`push`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pushed {
    /// Where the cache was pushed to.
    pub location: String,
    /// Shards of the local cache, all of which are now at the location.
    pub shards: usize,
    /// Shards now at the location, including those pushed from elsewhere.
    pub shards_there: usize,
    /// Files written, including `manifest.json`.
    pub files_written: u64,
    /// Written files that replaced other bytes.
    pub files_mended: u64,
    /// Files that were already there.
    pub files_found: u64,
    /// The data moved.
    pub traffic: Traffic,
    /// BLAKE3 of the `manifest.json` now at the location; `None` if only a plan was pushed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest_blake3: Option<String>,
}

/// A file to upload: its record, the folder that the record is relative to, and its object name.
pub(crate) struct Task {
    folder: Folder,
    named_in: PathBuf,
    record: FileRecord,
    name: String,
}

/// The number of files written and found.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) written: AtomicU64,
    pub(crate) mended: AtomicU64,
    pub(crate) found: AtomicU64,
}

impl Done {
    /// Counts a written file; `damaged` if it replaced other bytes.
    pub(crate) fn write(&self, damaged: bool) {
        self.written.fetch_add(1, Ordering::Relaxed);
        self.mended.fetch_add(damaged.into(), Ordering::Relaxed);
    }

    /// Counts a file that was already there.
    pub(crate) fn find(&self) {
        self.found.fetch_add(1, Ordering::Relaxed);
    }
}

/// The state shared by all steps of a push.
pub(crate) struct Push<'a> {
    pub(crate) remote: Arc<Remote>,
    pub(crate) done: Done,
    pub(crate) more: &'a (dyn Fn(Moved) + Sync),
}

/// Uploads the whole shards of the cache in `folder` to `location`. Each file is verified against its record first. Objects
/// that already have the right hash are skipped, so an interrupted push resumes when it is run again; objects with other
/// bytes are replaced. If the cache is only planned, the plan is pushed, for workers to fill.
///
/// # Errors
/// [`StoreError::Mismatch`] if another cache is there, [`StoreError::Damaged`] if a local file does not match its record,
/// [`StoreError::Remote`] if the service refuses, [`StoreError::Locked`] if another process writes to a `file://` location.
pub fn push(
    folder: &Path,
    location: &Location,
    options: &RemoteOptions,
    moved: &(dyn Fn(Moved) + Sync),
) -> Result<Pushed> {
    location.check_writable()?;
    let cache = match Cache::open(folder) {
        Err(StoreError::MissingManifest { .. }) if PlanReader::open(folder).is_ok() => None,
        opened => Some(opened?),
    };
    let plan = PlanReader::open(folder)?;
    let _lock = lock(location)?;
    let remote = Arc::new(Remote::connect(location, options)?);
    let push = Push { remote, done: Done::default(), more: moved };
    let Some(cache) = cache else { return push.plan(folder, &plan) };

    // Another cache must be detected before anything is sent.
    if let Some(there) = push.remote.get(MANIFEST_FILE)?
        && let Some(there) = read_manifest(location, &there.bytes)?
    {
        check_same(location, &there, cache.manifest())?;
    }
    refuse_beside_workers(&push.remote)?;
    let (tasks, total) = tasks(&cache, &plan);
    moved(Moved::Total(total));
    push.claim(&folder.join(PLAN_FILE), PLAN_FILE, cache.manifest().plan_blake3.as_str())?;
    let shards = read_shards(&cache, options.jobs)?;
    in_parallel(options.jobs, &shards, |shard| {
        let own = &shard.record.files[0];
        let name = format!("{}/{}", shard.record.path, own.path);
        push.claim(&folder.join(&name), &name, &own.blake3)?;
        moved(Moved::More(own.bytes));
        Ok(())
    })?;
    in_parallel(options.jobs, &tasks, |task| push.file(task))?;
    let (there, manifest_blake3) = push_manifest(&push, cache.manifest(), &plan, shards)?;
    Ok(Pushed {
        location: location.to_string(),
        shards: cache.shards(),
        shards_there: there.shards.len(),
        files_written: push.done.written.into_inner(),
        files_mended: push.done.mended.into_inner(),
        files_found: push.done.found.into_inner(),
        traffic: push.remote.traffic(),
        manifest_blake3: Some(manifest_blake3),
    })
}

/// Refuses a cache that workers are filling: a shard written by both would mix their files.
fn refuse_beside_workers(remote: &Remote) -> Result<()> {
    let session = format!("{CLAIMS_FOLDER}/session.json");
    if remote.size(&session)?.is_none() {
        return Ok(());
    }
    Err(StoreError::Remote {
        url: remote.location().join(&session),
        action: "push beside workers",
        expected: "a cache that none are filling".into(),
        got: "one that some are filling, or were".into(),
        advice: "Let `harvest run --share` fill it, or remove the objects below claims/ where no worker runs any more"
            .into(),
    })
}

/// A folder has no conditional updates, so its lock is held instead.
fn lock(location: &Location) -> Result<Option<Lock>> {
    let Some(folder) = location.folder() else { return Ok(None) };
    create_folders(machine().as_ref(), &folder)?;
    Lock::take(&folder).map(Some)
}

impl fmt::Debug for Push<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Push").field("remote", &self.remote).finish_non_exhaustive()
    }
}

/// Returns the files to upload, without the records that serve as claims, and the total bytes of both.
fn tasks(cache: &Cache, plan: &PlanReader) -> (Vec<Task>, u64) {
    let shards = &cache.manifest().shards;
    let listed_in = cache.folder().join(MANIFEST_FILE);
    let of_shards = shards.iter().flat_map(|shard| shard_tasks(cache.folder(), &listed_in, shard));
    let tasks: Vec<Task> = plan_tasks(cache.folder(), plan).chain(of_shards).collect();
    let claims = shards.iter().filter_map(|shard| shard.files.first()).map(|file| file.bytes);
    let total = tasks.iter().map(|task| task.record.bytes).chain(claims).fold(0, u64::saturating_add);
    (tasks, total)
}

/// Returns the files of a plan except its record.
fn plan_tasks<'a>(cache: &'a Path, plan: &'a PlanReader) -> impl Iterator<Item = Task> + use<'a> {
    plan.plan().shards.iter().flat_map(|shard| &shard.files).map(move |record| Task {
        folder: Folder::new(cache),
        named_in: cache.join(PLAN_FILE),
        record: record.clone(),
        name: record.path.clone(),
    })
}

/// Returns the files of a shard except its record; `listed_in` is the file that lists them.
fn shard_tasks<'a>(cache: &Path, listed_in: &'a Path, shard: &'a ShardRecord) -> impl Iterator<Item = Task> + use<'a> {
    let folder = Folder::new(cache.join(&shard.path));
    shard.files.iter().skip(1).map(move |record| Task {
        folder: folder.clone(),
        named_in: listed_in.to_owned(),
        record: record.clone(),
        name: format!("{}/{}", shard.path, record.path),
    })
}

/// Reads and checks the record of every shard.
fn read_shards(cache: &Cache, jobs: usize) -> Result<Vec<WrittenShard>> {
    let read = Mutex::new(BTreeMap::new());
    in_parallel(jobs, &cache.manifest().shards, |record| {
        let shard = WrittenShard { contents: cache.contents(record)?, record: record.clone() };
        read.lock().unwrap_or_else(PoisonError::into_inner).insert(record.index, shard);
        Ok(())
    })?;
    let read = read.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(read.into_values().collect())
}

impl Push<'_> {
    /// Pushes a plan without shards.
    fn plan(self, folder: &Path, plan: &PlanReader) -> Result<Pushed> {
        let tasks: Vec<Task> = plan_tasks(folder, plan).collect();
        (self.more)(Moved::Total(tasks.iter().map(|task| task.record.bytes).fold(0, u64::saturating_add)));
        self.claim(&folder.join(PLAN_FILE), PLAN_FILE, plan.blake3())?;
        in_parallel(self.remote.options().jobs, &tasks, |task| self.file(task))?;
        Ok(Pushed {
            location: self.remote.location().to_string(),
            shards: 0,
            shards_there: 0,
            traffic: self.remote.traffic(),
            files_written: self.done.written.into_inner(),
            files_mended: self.done.mended.into_inner(),
            files_found: self.done.found.into_inner(),
            manifest_blake3: None,
        })
    }

    /// Writes a record if it is missing or damaged. An existing record must have the same bytes.
    pub(crate) fn claim(&self, path: &Path, name: &str, blake3: &str) -> Result<()> {
        let bytes = Bytes::from(json::read(path)?);
        let got = blake3_hex(&bytes);
        if got != blake3 {
            return Err(StoreError::damaged(path, format!("BLAKE3 {blake3}"), format!("BLAKE3 {got}")));
        }
        // If it exists, a read is cheaper than a failed write.
        let mut there = self.remote.get(name)?;
        if there.is_none() {
            if self.remote.create(name, &bytes)? {
                self.done.write(false);
                return Ok(());
            }
            // Another process wrote it in between, or this one did and the response was lost.
            there = self.remote.get(name)?;
        }
        let there = match there {
            // A damaged record may be replaced. If a concurrent push wins, its record is compared below.
            Some(damaged) if json::is_damaged(&damaged.bytes) => {
                if self.remote.update(name, &bytes, damaged.version)? {
                    self.done.write(true);
                    return Ok(());
                }
                self.remote.get(name)?
            }
            there => there,
        };
        let there = there.map_or_else(|| "none".to_owned(), |there| blake3_hex(&there.bytes));
        if there != blake3 {
            return Err(StoreError::Mismatch {
                path: self.remote.location().join(name).into(),
                field: "BLAKE3".to_owned(),
                expected: blake3.to_owned(),
                got: there,
            });
        }
        self.done.find();
        Ok(())
    }

    /// Uploads a file unless the object already has its bytes, which the claim that lists it has fixed.
    pub(crate) fn file(&self, task: &Task) -> Result<()> {
        let Task { folder, named_in, record, name } = task;
        let there = self.remote.look_at(name)?;
        if let Some(there) = &there
            && self.is_same(name, record, there)?
        {
            self.done.find();
        } else {
            let path = folder.locate(named_in, &record.path)?;
            check_file(&path, record)?;
            let bytes = map_sized(&path, record)?.bytes;
            self.remote.put_file(name, &bytes, &record.blake3)?;
            self.done.write(there.is_some());
        }
        (self.more)(Moved::More(record.bytes));
        Ok(())
    }

    /// Whether an existing object has the bytes of a file. An object that fits in one request is read and hashed. For a
    /// larger one, the hash in its metadata is trusted; without one, it is read too.
    fn is_same(&self, name: &str, record: &FileRecord, there: &Seen) -> Result<bool> {
        let is_small = record.bytes <= self.remote.options().part_bytes;
        match &there.blake3 {
            _ if there.bytes != record.bytes => Ok(false),
            Some(said) if *said != record.blake3 => Ok(false),
            Some(_) if !is_small => Ok(true),
            _ => Ok(self.hash_there(name, record.bytes)? == record.blake3),
        }
    }

    /// Returns the BLAKE3 of an object of `bytes` bytes.
    fn hash_there(&self, name: &str, bytes: u64) -> Result<String> {
        let mut hasher = blake3::Hasher::new();
        let mut there = 0;
        while there < bytes {
            let end = bytes.min(there + self.remote.options().part_bytes);
            hasher.update(&self.remote.get_range(name, there..end)?);
            there = end;
        }
        Ok(hasher.finalize().to_hex().to_string())
    }
}
