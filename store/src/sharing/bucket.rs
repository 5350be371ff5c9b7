//! A cache in a bucket that workers fill: each writes shards to a scratch folder of its own and pushes them.
//!
//! ```text
//! claims/00007.0        who fills shard 7
//! shards/00007/…        its files; shard.json first, made only where there is none: whoever makes it decides the bytes
//! claims/00007.whole    all its files are there: the BLAKE3 of shard.json
//! manifest.json         when all shards are; then the claims go
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

use super::CLAIMS_FOLDER;
use super::company::tell_of_difference;
use super::place::ClaimPlace;
use crate::cache_writer::Shared;
use crate::error::{Result, StoreError};
use crate::files::disk;
use crate::files::hash::blake3_hex;
use crate::files::json;
use crate::files::lock::Lock;
use crate::files::staged::{create_folders, remove_entry, replace_file};
use crate::manifest::{MANIFEST_FILE, Manifest};
use crate::plan::{PLAN_FILE, Plan, PlanReader, shard_name};
use crate::remote::{
    Done, Location, Push, Remote, RemoteOptions, in_parallel, land, plan_table_place, push_manifest, shard_tasks,
};
use crate::settings::HarvestSettings;
use crate::shard_contents::{SHARD_FILE, SHARDS_FOLDER, WrittenShard};

/// What a claim on a shard that is whole ends in.
const WHOLE: &str = "whole";

/// What scratch folders are called, before what tells them apart.
const SCRATCH: &str = "hayloft-scratch-";

/// How long a request is tried: a bucket may be away for minutes, and a worker's hours are worth more than those.
const BUDGET: Duration = Duration::from_secs(300);

/// The bucket, and the scratch folder of this worker.
#[derive(Debug)]
pub(crate) struct Bucket {
    push: Push<'static>,
    scratch: TempDir,
    jobs: usize,
    known: Mutex<Known>,
}

/// What is known of the shards that are there.
#[derive(Debug, Default)]
struct Known {
    whole: BTreeSet<usize>,
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
        create_folders(disk::machine().as_ref(), scratch)?;
        remove_abandoned(scratch);
        let made = tempfile::Builder::new().prefix(SCRATCH).tempdir_in(scratch);
        let scratch = made.map_err(|cause| StoreError::io(scratch, "create a folder in", cause))?;
        replace_file(disk::machine().as_ref(), &scratch.path().join(PLAN_FILE), &plan.bytes)?;
        let push = Push { remote, done: Done::default(), more: &|_| () };
        let bucket = Self { push, scratch, jobs: options.jobs, known: Mutex::default() };
        bucket.look()?;
        Ok(bucket)
    }

    /// The scratch folder: for the time being, a cache of its own.
    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// What claims are kept in.
    pub(crate) fn claims(&self) -> Arc<dyn ClaimPlace> {
        Arc::clone(&self.push.remote) as _
    }

    /// The place of claims, for errors.
    pub(crate) fn location(&self) -> PathBuf {
        PathBuf::from(self.push.remote.location().to_string())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns which shards are whole: those of the manifest, and those that say so.
    fn look(&self) -> Result<()> {
        let suffix = format!(".{WHOLE}");
        for name in self.push.remote.list(CLAIMS_FOLDER)? {
            let shard: Option<usize> =
                name.rsplit('/').next().and_then(|name| name.strip_suffix(&suffix)?.parse().ok());
            self.known().whole.extend(shard);
        }
        self.look_at_manifest()
    }

    fn look_at_manifest(&self) -> Result<()> {
        let size = self.push.remote.size(MANIFEST_FILE)?;
        if size.is_none() || size == self.known().manifest_bytes {
            return Ok(());
        }
        if let Some(there) = self.push.remote.get(MANIFEST_FILE)? {
            let url = self.push.remote.location().join(MANIFEST_FILE);
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
        if self.push.remote.size(&whole_name(shard))?.is_some() {
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
            land(&self.push.remote, &record.path, record, &place, &|_| ())?;
        }
        Ok(())
    }

    /// Pushes a shard that lies in the scratch folder, and removes it there. Where another worker was first with other bytes, its
    /// shard stays and is returned.
    pub(crate) fn push_shard(&self, cache: &Shared, shard: WrittenShard) -> Result<WrittenShard> {
        let index = shard.index();
        let own = &shard.record.files[0];
        let name = format!("{}/{}", shard.record.path, own.path);
        let claimed = self.push.claim(&self.scratch().join(&name), &name, &own.blake3);
        let shard = match claimed {
            Err(StoreError::Mismatch { .. }) => self.other(cache, &shard, &name)?,
            claimed => {
                claimed?;
                let (folder, listed_in) = (self.scratch(), self.scratch().join(&name));
                let tasks: Vec<_> = shard_tasks(folder, &listed_in, &shard.record).collect();
                in_parallel(self.jobs, &tasks, |task| self.push.file(task))?;
                self.claims().replace(&whole_name(index), shard.record.files[0].blake3.as_bytes())?;
                shard
            }
        };
        self.known().whole.insert(index);
        remove_entry(cache.disk.as_ref(), &self.scratch().join(SHARDS_FOLDER).join(shard_name(index)))?;
        Ok(shard)
    }

    /// The shard of another worker, which was first, if it is whole.
    fn other(&self, cache: &Shared, own: &WrittenShard, name: &str) -> Result<WrittenShard> {
        let url = self.push.remote.location().join(name);
        if self.push.remote.size(&whole_name(own.index()))?.is_none() {
            return Err(StoreError::Remote {
                url,
                action: "fill",
                expected: format!("a shard.json with BLAKE3 {}", own.record.files[0].blake3).into(),
                got: "another, of a worker on other hardware that ended before its shard was whole".into(),
                advice: "Remove the objects of this shard, and run the same command again".into(),
            });
        }
        let bytes = self.push.remote.get(name)?.map(|fetched| fetched.bytes).unwrap_or_default();
        let url = PathBuf::from(url);
        let Some(there) = WrittenShard::read(&url, &bytes, own.index(), &cache.plan, &cache.settings)? else {
            return Err(StoreError::damaged(&url, "the record of a shard", "something else"));
        };
        tell_of_difference(own, &there);
        Ok(there)
    }

    /// Writes the manifest and removes the claims, once all planned shards are there; `None` while they are not.
    pub(crate) fn finish(&self, plan: &PlanReader, settings: &HarvestSettings) -> Result<Option<Manifest>> {
        for shard in 0..plan.plan().shards.len() {
            if !self.is_whole(shard)? {
                return Ok(None);
            }
        }
        let shards = Mutex::new(BTreeMap::new());
        let all: Vec<usize> = (0..plan.plan().shards.len()).collect();
        in_parallel(self.jobs, &all, |&index| {
            let shard = self.shard_there(plan, settings, index)?;
            shards.lock().unwrap_or_else(PoisonError::into_inner).insert(index, shard);
            Ok(())
        })?;
        let shards = shards.into_inner().unwrap_or_else(PoisonError::into_inner);
        let ours = Manifest::new(plan, settings, &shards);
        let (manifest, _) = push_manifest(&self.push, &ours, plan, shards.into_values().collect())?;
        self.claims().clear()?;
        Ok(Some(manifest))
    }

    fn shard_there(&self, plan: &PlanReader, settings: &HarvestSettings, index: usize) -> Result<WrittenShard> {
        let remote = &self.push.remote;
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
