//! A cache in a bucket that workers fill: each writes shards to a scratch folder of its own and pushes them.
//!
//! ```text
//! claims/00007.0          who fills shard 7
//! claims/00007.WORKER/…   the files as one worker made them, under its own name: nobody else writes there
//! claims/00007.decided    the worker whose files the shard gets, made only where there is none, once all of them are there
//! shards/00007/…          copies of these files, shard.json last
//! claims/00007.whole      all of them are there: the BLAKE3 of shard.json
//! manifest.json           when all shards are; then the claims go
//! ```
//!
//! Whatever has a name that readers know has the bytes of the one worker that was decided on, whoever copies them and however late.
//! So a worker may die or stand still anywhere:
//!
//! - before the decision, it leaves files that nobody looks at, and the next worker makes its own;
//! - after it, whoever has the claim next copies what was decided on, and fills nothing;
//! - one that comes to the decision late drops its files, and copies those that were decided on if nobody has yet;
//! - one that copies late finds the files gone, since the shard is whole: then it has nothing to do;
//! - one that comes to the decision after the claims have been cleared away finds the shard in the manifest, and copies nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::CLAIMS_FOLDER;
use super::claim::is_worker_name;
use super::difference::tell_of_difference;
use super::place::ClaimPlace;
use crate::error::{Result, StoreError};
use crate::format::manifest::{MANIFEST_FILE, Manifest};
use crate::format::plan::{PLAN_FILE, Plan, PlanReader, shard_name};
use crate::format::settings::HarvestSettings;
use crate::format::shard_record::{SHARD_FILE, SHARDS_FOLDER, WrittenShard};
use crate::format::totals::Totals;
use crate::fs::hash::{blake3_hex, check_file, map_sized};
use crate::fs::json;
use crate::fs::lock::Lock;
use crate::fs::machine::machine;
use crate::fs::staged::{create_folders, remove_entry, replace_file};
use crate::remote::{Location, Remote, RemoteOptions, in_parallel, land, plan_table_place, put_whole_manifest};
use crate::write::core::WriterCore;

/// What a claim on a shard that is whole ends in.
const WHOLE: &str = "whole";

/// What the name of the decision on a shard's files ends in.
const DECIDED: &str = "decided";

/// What was learnt of shards is no older than this where one is taken on it; it is asked once more before the shard is filled.
const RECENT: Duration = Duration::from_secs(1);

/// What scratch folders are called, before what tells them apart.
const SCRATCH: &str = "hayloft-scratch-";

/// How long a request is tried: a bucket may be away for minutes, and a worker's hours are worth more than those.
const BUDGET: Duration = Duration::from_secs(300);

/// The bucket, and the scratch folder of this worker.
#[derive(Debug)]
pub(crate) struct Bucket {
    remote: Arc<Remote>,
    scratch: TempDir,
    jobs: usize,
    known: Mutex<Known>,
}

/// Up to so many shards are asked for one by one: a list of all claims takes a request for each thousand.
const FEW: usize = 16;

/// Shards whose records are in memory at a time.
const AT_A_TIME: usize = 64;

/// What is known of the shards that are there.
#[derive(Debug, Default)]
struct Known {
    whole: BTreeSet<usize>,
    /// When that was last learnt.
    at: Option<Instant>,
    /// The size of the manifest that was read last, if there was one.
    manifest_bytes: Option<u64>,
}

impl Bucket {
    /// Finds the planned cache at `location`, and makes a scratch folder in `scratch`, with the plan in it, but for its tables.
    ///
    /// # Errors
    /// [`StoreError::MissingPlan`] where no plan has been pushed there; [`StoreError::Invalid`] where it cannot be written to.
    pub(crate) fn open(location: &Location, options: &RemoteOptions, scratch: &Path) -> Result<Self> {
        location.check_writable()?;
        let options = RemoteOptions { budget: options.budget.max(BUDGET), ..options.clone() };
        let remote = Arc::new(Remote::connect(location, &options)?);
        let Some(plan) = remote.get(PLAN_FILE)? else {
            return Err(StoreError::MissingPlan { folder: PathBuf::from(location.to_string()) });
        };
        let _: Plan = json::unseal(location.join(PLAN_FILE).as_ref(), &plan.bytes)?;
        create_folders(machine().as_ref(), scratch)?;
        remove_abandoned(scratch);
        let made = tempfile::Builder::new().prefix(SCRATCH).tempdir_in(scratch);
        let scratch = made.map_err(|cause| StoreError::io(scratch, "create a folder in", cause))?;
        replace_file(machine().as_ref(), &scratch.path().join(PLAN_FILE), &plan.bytes)?;
        let bucket = Self { remote, scratch, jobs: options.jobs, known: Mutex::default() };
        bucket.look()?;
        Ok(bucket)
    }

    /// The scratch folder: for the time being, a cache of its own.
    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// What claims are kept in.
    pub(crate) fn claims(&self) -> Arc<dyn ClaimPlace> {
        Arc::clone(&self.remote) as _
    }

    /// The place of claims, for errors.
    pub(crate) fn location(&self) -> PathBuf {
        PathBuf::from(self.remote.location().to_string())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns which shards are whole: those of the manifest, and those that say so.
    fn look(&self) -> Result<()> {
        let suffix = format!(".{WHOLE}");
        for name in self.remote.list(CLAIMS_FOLDER)? {
            let shard: Option<usize> =
                name.rsplit('/').next().and_then(|name| name.strip_suffix(&suffix)?.parse().ok());
            self.known().whole.extend(shard);
        }
        self.known().at = Some(Instant::now());
        self.look_at_manifest()
    }

    /// Whether a shard was whole when it was last looked at.
    pub(crate) fn was_whole(&self, shard: usize) -> bool {
        self.known().whole.contains(&shard)
    }

    /// Learns which of these shards are whole by now, unless that was learnt just now.
    pub(crate) fn refresh(&self, shards: &[usize]) -> Result<()> {
        if self.known().at.is_some_and(|at| at.elapsed() < RECENT) {
            return Ok(());
        }
        if shards.len() > FEW {
            return self.look();
        }
        in_parallel(self.jobs, shards, |&shard| {
            if self.remote.size(&whole_name(shard))?.is_some() {
                self.known().whole.insert(shard);
            }
            Ok(())
        })?;
        self.known().at = Some(Instant::now());
        self.look_at_manifest()
    }

    fn look_at_manifest(&self) -> Result<()> {
        let size = self.remote.size(MANIFEST_FILE)?;
        if size.is_none() || size == self.known().manifest_bytes {
            return Ok(());
        }
        if let Some(there) = self.remote.get(MANIFEST_FILE)? {
            let url = self.remote.location().join(MANIFEST_FILE);
            let manifest: Manifest = json::unseal(url.as_ref(), &there.bytes)?;
            let mut known = self.known();
            known.whole.extend(manifest.shards.iter().map(|shard| shard.index));
            known.manifest_bytes = size;
        }
        Ok(())
    }

    /// Whether all files of a shard are there.
    pub(crate) fn is_whole(&self, shard: usize) -> Result<bool> {
        if self.known().whole.contains(&shard) {
            return Ok(true);
        }
        if self.remote.size(&whole_name(shard))?.is_some() {
            self.known().whole.insert(shard);
            return Ok(true);
        }
        // Where all shards are whole, the claims have gone, and the manifest says so.
        self.look_at_manifest()?;
        Ok(self.known().whole.contains(&shard))
    }

    /// Brings a planned shard's tables to the scratch folder.
    pub(crate) fn bring_plan_of(&self, plan: &PlanReader, shard: usize) -> Result<()> {
        for record in &plan.shard(shard)?.files {
            let place = plan_table_place(record, self.scratch())?;
            land(&self.remote, &record.path, record, &place, &|_| ())?;
        }
        Ok(())
    }

    /// Pushes a shard that lies in the scratch folder, and removes it there. Where another worker's was decided on, that one is
    /// returned.
    pub(crate) fn push_shard(&self, cache: &WriterCore, worker: &str, shard: &WrittenShard) -> Result<WrittenShard> {
        let index = shard.index();
        let folder = self.scratch().join(SHARDS_FOLDER).join(shard_name(index));
        if !self.is_whole(index)? {
            self.upload(&attempt_name(index, worker), &folder, shard)?;
            let is_first = self.claims().create(&decided_name(index), worker.as_bytes())?;
            // It is also the first where the shard has become whole and the claims have been cleared away: the manifest was written
            // before that.
            if is_first && !self.is_whole(index)? {
                self.publish(cache, worker, index, &folder)?;
            } else {
                self.publish_what_is_decided(cache, index)?;
                self.remove_attempt(index, worker)?;
            }
        }
        let there = self.shard_there(&cache.plan, &cache.settings, index)?;
        if there.record.files != shard.record.files {
            tell_of_difference(shard, &there);
        }
        remove_entry(cache.disk.as_ref(), &folder)?;
        Ok(there)
    }

    /// Sees to it that a shard is whole of which it has been decided whose files it gets: whether it is.
    pub(crate) fn publish_what_is_decided(&self, cache: &WriterCore, shard: usize) -> Result<bool> {
        if self.is_whole(shard)? {
            return Ok(true);
        }
        let Some(worker) = self.claims().read(&decided_name(shard))? else { return Ok(false) };
        let decided = self.remote.location().join(&decided_name(shard));
        let worker = String::from_utf8(worker).ok().filter(|worker| is_worker_name(worker));
        let worker =
            worker.ok_or_else(|| StoreError::damaged(decided.as_ref(), "a worker's name", "something else"))?;
        let attempt = attempt_name(shard, &worker);
        let folder = self.scratch().join(&attempt);
        self.publish(cache, &worker, shard, &folder)?;
        remove_entry(cache.disk.as_ref(), &folder)?;
        Ok(true)
    }

    /// Puts a shard's files where only this worker writes.
    fn upload(&self, attempt: &str, folder: &Path, shard: &WrittenShard) -> Result<()> {
        in_parallel(self.jobs, &shard.record.files, |record| {
            let path = folder.join(&record.path);
            check_file(&path, record)?;
            let name = format!("{attempt}/{}", record.path);
            self.remote.put_file(&name, &map_sized(&path, record)?.bytes, &record.blake3)
        })
    }

    /// Gives a shard the files of the worker that was decided on, unless it is whole by then. What the service cannot copy is sent
    /// from `folder`, after it was brought there if it is not.
    fn publish(&self, cache: &WriterCore, worker: &str, shard: usize, folder: &Path) -> Result<()> {
        let published = self.copy_attempt(cache, worker, shard, folder);
        // Whoever made it whole has removed what this was copying.
        if published.is_err() && self.is_whole(shard)? {
            return Ok(());
        }
        published?;
        self.remove_attempt(shard, worker)
    }

    fn copy_attempt(&self, cache: &WriterCore, worker: &str, shard: usize, folder: &Path) -> Result<()> {
        let remote = &self.remote;
        let attempt = attempt_name(shard, worker);
        let name = format!("{attempt}/{SHARD_FILE}");
        let url = PathBuf::from(remote.location().join(&name));
        let gone = || StoreError::damaged(&url, "the record of a shard", "none, or something else");
        let bytes = remote.get(&name)?.ok_or_else(gone)?.bytes;
        let made = WrittenShard::read(&url, &bytes, shard, &cache.plan, &cache.settings)?.ok_or_else(gone)?;
        create_folders(cache.disk.as_ref(), folder)?;
        in_parallel(self.jobs, &made.contents.files, |record| {
            let (from, to) = (format!("{attempt}/{}", record.path), format!("{}/{}", made.record.path, record.path));
            if remote.copy(&from, &to, record.bytes)? {
                return Ok(());
            }
            let path = folder.join(&record.path);
            land(remote, &from, record, &path, &|_| ())?;
            remote.put_file(&to, &map_sized(&path, record)?.bytes, &record.blake3)
        })?;
        remote.put(&format!("{}/{SHARD_FILE}", made.record.path), &bytes)?;
        self.claims().replace(&whole_name(shard), made.record.files[0].blake3.as_bytes())?;
        self.known().whole.insert(shard);
        Ok(())
    }

    /// Removes what a worker has put up of a shard.
    pub(crate) fn remove_attempt(&self, shard: usize, worker: &str) -> Result<()> {
        let names = self.remote.list(&attempt_name(shard, worker))?;
        in_parallel(self.jobs, &names, |name| self.remote.delete(name))
    }

    /// Writes the manifest and removes the claims, once all planned shards are there; `None` while they are not.
    pub(crate) fn finish(&self, plan: &PlanReader, settings: &HarvestSettings) -> Result<Option<Manifest>> {
        let all: Vec<usize> = (0..plan.plan().shards.len()).collect();
        self.look()?;
        if !all.iter().all(|&shard| self.was_whole(shard)) {
            return Ok(None);
        }
        let mut totals = Totals::new(settings);
        let mut records = Vec::new();
        for some in all.chunks(AT_A_TIME) {
            let shards = Mutex::new(BTreeMap::new());
            in_parallel(self.jobs, some, |&index| {
                let shard = self.shard_there(plan, settings, index)?;
                shards.lock().unwrap_or_else(PoisonError::into_inner).insert(index, shard);
                Ok(())
            })?;
            for shard in shards.into_inner().unwrap_or_else(PoisonError::into_inner).into_values() {
                totals.add(&shard);
                records.push(shard.record);
            }
        }
        let manifest = totals.manifest(plan, settings, records);
        put_whole_manifest(&self.remote, &manifest)?;
        self.claims().clear()?;
        Ok(Some(manifest))
    }

    fn shard_there(&self, plan: &PlanReader, settings: &HarvestSettings, index: usize) -> Result<WrittenShard> {
        let remote = &self.remote;
        let name = format!("{SHARDS_FOLDER}/{}/{SHARD_FILE}", shard_name(index));
        let bytes = remote.get(&name)?.map(|fetched| fetched.bytes).unwrap_or_default();
        let got = blake3_hex(&bytes);
        // One that a manifest lists has no other.
        let expected = remote.get(&whole_name(index))?.map(|said| String::from_utf8_lossy(&said.bytes).into_owned());
        let url = PathBuf::from(remote.location().join(&name));
        if let Some(expected) = expected.filter(|expected| *expected != got) {
            return Err(StoreError::damaged(&url, format!("BLAKE3 {expected}"), format!("BLAKE3 {got}")));
        }
        let shard = WrittenShard::read(&url, &bytes, index, plan, settings)?;
        shard.ok_or_else(|| StoreError::damaged(&url, "the record of a shard", "something else"))
    }
}

fn whole_name(shard: usize) -> String {
    format!("{CLAIMS_FOLDER}/{}.{WHOLE}", shard_name(shard))
}

fn decided_name(shard: usize) -> String {
    format!("{CLAIMS_FOLDER}/{}.{DECIDED}", shard_name(shard))
}

/// Where a worker puts its files of a shard.
fn attempt_name(shard: usize, worker: &str) -> String {
    format!("{CLAIMS_FOLDER}/{}.{worker}", shard_name(shard))
}

/// Removes scratch folders whose workers are gone: they are nobody's to lock.
fn remove_abandoned(scratch: &Path) {
    for entry in std::fs::read_dir(scratch).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(SCRATCH);
        // Just made by a worker that has not locked it yet, it is left alone.
        let age = entry.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|at| at.elapsed().ok());
        if is_ours && age.is_some_and(|age| age > Duration::from_secs(60)) && Lock::take(&entry.path()).is_ok() {
            // What cannot be removed only takes room.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
