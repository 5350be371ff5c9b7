//! A cache in a bucket that several workers fill. Each writes shards to its own scratch folder and uploads them.
//!
//! ```text
//! claims/00007.0          the worker that fills shard 7
//! claims/00007.WORKER/…   the files that one worker made; no other worker writes there
//! claims/00007.decided    the worker whose files the shard gets; created only if absent, once all its files are there
//! shards/00007/…          copies of these files, shard.json last
//! claims/00007.whole      all copies are there; holds the BLAKE3 of shard.json
//! manifest.json           written once all shards are whole; the claims are then removed
//! ```
//!
//! Files under names that readers use always have the bytes of the worker that was decided on, no matter which worker copies
//! them or when. So a worker may die or stall at any point:
//!
//! - Before the decision, its files are ignored, and the next worker makes its own.
//! - After the decision, the next worker with the claim copies the decided files and fills nothing.
//! - A worker that reaches the decision late drops its files, and copies the decided ones if they are not copied yet.
//! - A worker that copies late finds the source files gone because the shard is whole, and does nothing.
//! - A worker that reaches the decision after the claims are removed finds the shard in the manifest, and copies nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::claim::is_worker_name;
use super::difference::tell_of_difference;
use super::place::ClaimPlace;
use crate::error::{Result, StoreError};
use crate::format::manifest::{MANIFEST_FILE, Manifest};
use crate::format::plan::{PLAN_FILE, Plan, PlanReader, shard_name};
use crate::format::settings::HarvestSettings;
use crate::format::shard_record::CLAIMS_FOLDER;
use crate::format::shard_record::{SHARD_FILE, SHARDS_FOLDER, WrittenShard};
use crate::format::totals::Totals;
use crate::fs::hash::{blake3_hex, check_file, map_sized};
use crate::fs::json;
use crate::fs::lock::Lock;
use crate::fs::machine::machine;
use crate::fs::staged::{create_folders, remove_entry, replace_file};
use crate::remote::{Location, Remote, RemoteOptions, in_parallel, land, plan_table_place, put_whole_manifest};
use crate::write::core::WriterCore;

/// Suffix of the name that marks a shard as whole.
const WHOLE: &str = "whole";

/// Suffix of the name that holds the decision on a shard's files.
const DECIDED: &str = "decided";

/// How long the known state of the shards counts as current. A shard is checked again before it is filled.
const RECENT: Duration = Duration::from_secs(1);

/// Prefix of the names of scratch folders.
const SCRATCH: &str = "hayloft-scratch-";

/// Minimum retry budget of a request. A bucket may be unreachable for minutes, and a worker's hours are worth more.
const BUDGET: Duration = Duration::from_secs(300);

/// The bucket and this worker's scratch folder.
#[derive(Debug)]
pub(crate) struct Bucket {
    remote: Arc<Remote>,
    scratch: TempDir,
    jobs: usize,
    known: Mutex<Known>,
}

/// Up to this many shards are looked up one by one. A list of all claims takes one request per thousand.
const FEW: usize = 16;

/// Number of shard records in memory at a time.
const AT_A_TIME: usize = 64;

/// What is known of the shards in the bucket.
#[derive(Debug, Default)]
struct Known {
    whole: BTreeSet<usize>,
    /// When the bucket was last looked at.
    at: Option<Instant>,
    /// The size of the manifest that was last read, if any.
    manifest_bytes: Option<u64>,
}

impl Bucket {
    /// Opens the planned cache at `location` and makes a scratch folder in `scratch`. The folder holds the plan without its
    /// tables.
    ///
    /// # Errors
    /// [`StoreError::MissingPlan`] if no plan has been pushed there; [`StoreError::Invalid`] if the location is read-only.
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

    /// The scratch folder, laid out as a cache.
    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Where the claims are stored.
    pub(crate) fn claims(&self) -> Arc<dyn ClaimPlace> {
        Arc::clone(&self.remote) as _
    }

    /// The location of the claims, for error messages.
    pub(crate) fn location(&self) -> PathBuf {
        PathBuf::from(self.remote.location().to_string())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds out which shards are whole, from the manifest and the claims.
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

    /// Whether a shard was whole at the last look.
    pub(crate) fn was_whole(&self, shard: usize) -> bool {
        self.known().whole.contains(&shard)
    }

    /// Updates which of these shards are whole, unless that was done just now.
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

    /// Whether all files of a shard are in the bucket.
    pub(crate) fn is_whole(&self, shard: usize) -> Result<bool> {
        if self.known().whole.contains(&shard) {
            return Ok(true);
        }
        if self.remote.size(&whole_name(shard))?.is_some() {
            self.known().whole.insert(shard);
            return Ok(true);
        }
        // Once all shards are whole, the claims are gone and the manifest lists the shards.
        self.look_at_manifest()?;
        Ok(self.known().whole.contains(&shard))
    }

    /// Downloads the plan tables of a shard to the scratch folder.
    pub(crate) fn bring_plan_of(&self, plan: &PlanReader, shard: usize) -> Result<()> {
        for record in &plan.shard(shard)?.files {
            let place = plan_table_place(record, self.scratch())?;
            land(&self.remote, &record.path, record, &place, &|_| ())?;
        }
        Ok(())
    }

    /// Uploads a shard from the scratch folder and removes it there. Returns the published shard, which is another worker's
    /// if that one was decided on.
    pub(crate) fn push_shard(&self, cache: &WriterCore, worker: &str, shard: &WrittenShard) -> Result<WrittenShard> {
        let index = shard.index();
        let folder = self.scratch().join(SHARDS_FOLDER).join(shard_name(index));
        if !self.is_whole(index)? {
            self.upload(&attempt_name(index, worker), &folder, shard)?;
            let is_first = self.claims().create(&decided_name(index), worker.as_bytes())?;
            // The create also succeeds if the shard is already whole and the claims were removed; the manifest was written
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

    /// Publishes a shard whose files are already decided. Returns whether the shard is whole.
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

    /// Uploads a shard's files under this worker's name.
    fn upload(&self, attempt: &str, folder: &Path, shard: &WrittenShard) -> Result<()> {
        in_parallel(self.jobs, &shard.record.files, |record| {
            let path = folder.join(&record.path);
            check_file(&path, record)?;
            let name = format!("{attempt}/{}", record.path);
            self.remote.put_file(&name, &map_sized(&path, record)?.bytes, &record.blake3)
        })
    }

    /// Publishes the files of the worker that was decided on, unless the shard is already whole. Files that the service
    /// cannot copy are uploaded from `folder`, and downloaded to it first if missing.
    fn publish(&self, cache: &WriterCore, worker: &str, shard: usize, folder: &Path) -> Result<()> {
        let published = self.copy_attempt(cache, worker, shard, folder);
        // The worker that made the shard whole has removed the files being copied.
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

    /// Removes the files that a worker uploaded for a shard.
    pub(crate) fn remove_attempt(&self, shard: usize, worker: &str) -> Result<()> {
        let names = self.remote.list(&attempt_name(shard, worker))?;
        in_parallel(self.jobs, &names, |name| self.remote.delete(name))
    }

    /// Writes the manifest and removes the claims once all planned shards are whole; returns `None` before that.
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
        // A shard known only from a manifest has no such object.
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

/// Where a worker uploads its files of a shard.
fn attempt_name(shard: usize, worker: &str) -> String {
    format!("{CLAIMS_FOLDER}/{}.{worker}", shard_name(shard))
}

/// Removes the scratch folders of workers that have ended, whose locks are free.
fn remove_abandoned(scratch: &Path) {
    for entry in std::fs::read_dir(scratch).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(SCRATCH);
        // A recent folder is left alone: its worker may not have locked it yet.
        let age = entry.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|at| at.elapsed().ok());
        if is_ours && age.is_some_and(|age| age > Duration::from_secs(60)) && Lock::take(&entry.path()).is_ok() {
            // A folder that cannot be removed only takes up space.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
