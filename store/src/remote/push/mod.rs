//! Putting a cache somewhere else.

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
use crate::workers::CLAIMS_FOLDER;

/// What [`push`] did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pushed {
    /// Where the cache is now.
    pub location: String,
    /// Shards of this cache, all of which are there now.
    pub shards: usize,
    /// Shards that are there now, those of others included.
    pub shards_there: usize,
    /// Files written, `manifest.json` included.
    pub files_written: u64,
    /// Those of them that were there with other bytes.
    pub files_mended: u64,
    /// Files that were there already.
    pub files_found: u64,
    /// What was moved.
    pub traffic: Traffic,
    /// BLAKE3 of the `manifest.json` that is there now; none where only a plan was pushed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest_blake3: Option<String>,
}

/// A file to be pushed: the folder that its record is relative to, and the name that it has there.
pub(crate) struct Task {
    folder: Folder,
    named_in: PathBuf,
    record: FileRecord,
    name: String,
}

/// How many files were written or found.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) written: AtomicU64,
    pub(crate) mended: AtomicU64,
    pub(crate) found: AtomicU64,
}

impl Done {
    /// Takes note of a file that was written; `damaged` if it was in the place of another.
    pub(crate) fn write(&self, damaged: bool) {
        self.written.fetch_add(1, Ordering::Relaxed);
        self.mended.fetch_add(damaged.into(), Ordering::Relaxed);
    }

    /// Takes note of a file that was there already.
    pub(crate) fn find(&self) {
        self.found.fetch_add(1, Ordering::Relaxed);
    }
}

/// What every step needs.
pub(crate) struct Push<'a> {
    pub(crate) remote: Arc<Remote>,
    pub(crate) done: Done,
    pub(crate) more: &'a (dyn Fn(Moved) + Sync),
}

/// Pushes the whole shards of the cache in `folder` to `location`, each file hashed against its record before it is
/// sent. What is there already, by its hash, is not sent again, so a push that was interrupted goes on when it is run once
/// more; what is there with other bytes than it should have is written anew. Of a cache that is only planned, the plan is
/// pushed, for workers to fill.
///
/// # Errors
/// [`StoreError::Mismatch`] where another cache is there, [`StoreError::Damaged`] where a file of this one is not what
/// its record says, [`StoreError::Remote`] where the service will not have it, [`StoreError::Locked`] where somebody
/// else writes to a `file://` location.
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

    // Another cache is found out before anything is sent.
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

/// Refuses a cache that workers are filling: of a shard that both write, each would have some files.
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

/// A folder cannot say "write this if nobody else has": its lock is held instead.
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

/// All files but the records that are claims, and the bytes of those and these.
fn tasks(cache: &Cache, plan: &PlanReader) -> (Vec<Task>, u64) {
    let shards = &cache.manifest().shards;
    let listed_in = cache.folder().join(MANIFEST_FILE);
    let of_shards = shards.iter().flat_map(|shard| shard_tasks(cache.folder(), &listed_in, shard));
    let tasks: Vec<Task> = plan_tasks(cache.folder(), plan).chain(of_shards).collect();
    let claims = shards.iter().filter_map(|shard| shard.files.first()).map(|file| file.bytes);
    let total = tasks.iter().map(|task| task.record.bytes).chain(claims).fold(0, u64::saturating_add);
    (tasks, total)
}

/// The files of a plan but for its record.
fn plan_tasks<'a>(cache: &'a Path, plan: &'a PlanReader) -> impl Iterator<Item = Task> + use<'a> {
    plan.plan().shards.iter().flat_map(|shard| &shard.files).map(move |record| Task {
        folder: Folder::new(cache),
        named_in: cache.join(PLAN_FILE),
        record: record.clone(),
        name: record.path.clone(),
    })
}

/// The files of a shard but for its record; `listed_in` is what names them.
fn shard_tasks<'a>(cache: &Path, listed_in: &'a Path, shard: &'a ShardRecord) -> impl Iterator<Item = Task> + use<'a> {
    let folder = Folder::new(cache.join(&shard.path));
    shard.files.iter().skip(1).map(move |record| Task {
        folder: folder.clone(),
        named_in: listed_in.to_owned(),
        record: record.clone(),
        name: format!("{}/{}", shard.path, record.path),
    })
}

/// Every shard's own record, read and checked.
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
    /// Pushes a plan of which no shard has been filled.
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

    /// Writes a record where there is none yet, or a damaged one; another one's must have the same bytes.
    pub(crate) fn claim(&self, path: &Path, name: &str, blake3: &str) -> Result<()> {
        let bytes = Bytes::from(json::read(path)?);
        let got = blake3_hex(&bytes);
        if got != blake3 {
            return Err(StoreError::damaged(path, format!("BLAKE3 {blake3}"), format!("BLAKE3 {got}")));
        }
        // Where it is there already, reading it costs less than offering it in vain.
        let mut there = self.remote.get(name)?;
        if there.is_none() {
            if self.remote.create(name, &bytes)? {
                self.done.write(false);
                return Ok(());
            }
            // In between, somebody else wrote it, or this did and the answer was lost.
            there = self.remote.get(name)?;
        }
        let there = match there {
            // Nobody's record; who looked at the same time mends it with the same bytes, or finds another's.
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

    /// Writes a file, unless it is there with its bytes. Which they are was settled by the claim that lists it.
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

    /// Whether the object that is there has the bytes of a file. What one request brings is read and hashed; of a larger
    /// one, the hash that a push before left beside it is believed, and without one it is read too.
    fn is_same(&self, name: &str, record: &FileRecord, there: &Seen) -> Result<bool> {
        let is_small = record.bytes <= self.remote.options().part_bytes;
        match &there.blake3 {
            _ if there.bytes != record.bytes => Ok(false),
            Some(said) if *said != record.blake3 => Ok(false),
            Some(_) if !is_small => Ok(true),
            _ => Ok(self.hash_there(name, record.bytes)? == record.blake3),
        }
    }

    /// The BLAKE3 of an object of so many bytes.
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
