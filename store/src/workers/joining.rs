//! How a worker joins the others, and how it leaves them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::bucket::Bucket;
use super::claim::worker_name;
use super::leases::Leases;
use super::place::{ClaimPlace, FolderClaims};
use super::worker::Worker;
use super::{Sharing, session};
use crate::error::{Result, StoreError};
use crate::format::manifest::{MANIFEST_FILE, Manifest};
use crate::format::plan::{PlanReader, shard_name};
use crate::format::settings::{HarvestSettings, NonFinite};
use crate::format::shard_record::{SHARDS_FOLDER, WrittenShard};
use crate::format::totals::Totals;
use crate::fs::disk::Disk;
use crate::fs::json;
use crate::fs::lock::Lock;
use crate::fs::machine::machine;
use crate::fs::staged::{create_folder, leftovers, partial, remove_leftovers, replace_file_by};
#[cfg(feature = "remote")]
use crate::remote::{Location, RemoteOptions};
use crate::write::cache_writer::{CacheWriter, check_planned};
use crate::write::core::WriterCore;
use crate::write::mode::WriteMode;

impl CacheWriter {
    /// Joins the workers that fill the cache in `folder`. The folder must have a plan and may be on a shared file
    /// system. Complete shards are kept. [`Self::queue`] distributes the others over the workers.
    ///
    /// # Errors
    /// Those of [`Self::open`], and [`StoreError::Mismatch`] if the other workers have other settings or another
    /// version.
    pub fn open_shared(
        folder: &Path,
        settings: HarvestSettings,
        non_finite: NonFinite,
        sharing: Sharing,
    ) -> Result<Self> {
        Self::open_shared_on(machine(), folder, settings, non_finite, sharing)
    }

    fn open_shared_on(
        disk: Arc<dyn Disk>,
        folder: &Path,
        settings: HarvestSettings,
        non_finite: NonFinite,
        sharing: Sharing,
    ) -> Result<Self> {
        check_planned(folder)?;
        let lock = Lock::take_shared(folder)?;
        let worker = worker_name(folder);
        let place: Arc<dyn ClaimPlace> = Arc::new(FolderClaims::open(folder, &worker)?);
        let joining = Joining { disk, folder, cache: folder.to_owned(), place, worker, lock, bucket: None };
        joining.join(settings, non_finite, sharing)
    }

    /// Joins the workers that fill the cache at `location`, which must have a plan. Shards are written to a folder in
    /// `scratch`, pushed, and removed from it.
    ///
    /// # Errors
    /// Those of [`Self::open_shared`], and [`StoreError::Remote`] if the bucket is unreachable for minutes.
    #[cfg(feature = "remote")]
    pub fn open_bucket(
        location: &Location,
        options: &RemoteOptions,
        scratch: &Path,
        settings: HarvestSettings,
        non_finite: NonFinite,
        sharing: Sharing,
    ) -> Result<Self> {
        let bucket = Arc::new(Bucket::open(location, options, scratch)?);
        let folder = bucket.scratch().to_owned();
        let lock = Lock::take(&folder)?;
        let (place, cache, worker) = (bucket.claims(), bucket.location(), worker_name(&folder));
        let joining = Joining { disk: machine(), folder: &folder, cache, place, worker, lock, bucket: Some(bucket) };
        joining.join(settings, non_finite, sharing)
    }
}

/// The state of a worker while it joins others.
struct Joining<'a> {
    disk: Arc<dyn Disk>,
    folder: &'a Path,
    /// The location of the cache, for errors.
    cache: PathBuf,
    place: Arc<dyn ClaimPlace>,
    worker: String,
    lock: Lock,
    bucket: Option<Arc<Bucket>>,
}

impl Joining<'_> {
    fn join(self, settings: HarvestSettings, non_finite: NonFinite, sharing: Sharing) -> Result<CacheWriter> {
        let Self { disk, folder, cache, place, worker, lock, bucket } = self;
        let settings = settings.checked()?;
        let plan = PlanReader::open(folder)?;
        session::join(place.as_ref(), &cache, plan.blake3(), &settings)?;
        create_folder(disk.as_ref(), &folder.join(SHARDS_FOLDER))?;
        let leases = Leases::new(place, worker.clone(), sharing.lease);
        let mode = WriteMode::Shared(Box::new(Worker { leases, name: worker, bucket, lock: Mutex::new(Some(lock)) }));
        let core = WriterCore { folder: folder.to_owned(), disk, plan, settings, non_finite, mode };
        Ok(CacheWriter::of_worker(core))
    }
}

impl Worker {
    /// Writes the manifest and removes the claims if all planned shards are complete. Concurrent calls have the same
    /// result.
    pub(crate) fn finish(&self, cache: &WriterCore) -> Result<Option<Manifest>> {
        let WriterCore { folder, disk, plan, settings, .. } = cache;
        if let Some(bucket) = &self.bucket {
            return bucket.finish(plan, settings);
        }
        let (planned, shards_folder) = (plan.plan().shards.len(), folder.join(SHARDS_FOLDER));
        if !(0..planned).all(|shard| shards_folder.join(shard_name(shard)).exists()) {
            return Ok(None);
        }
        let mut totals = Totals::new(settings);
        let mut records = Vec::new();
        for index in 0..planned {
            let Some(shard) = WrittenShard::find(folder, index, plan, settings)? else { return Ok(None) };
            totals.add(&shard);
            records.push(shard.record);
        }
        let manifest = totals.manifest(plan, settings, records);
        let path = folder.join(MANIFEST_FILE);
        let bytes = json::seal(&path, &manifest)?;
        let is_written = || fs::read(&path).ok().as_deref() == Some(&bytes);
        if !is_written() {
            let temporary = cache.mode.temporary(&path).unwrap_or_else(|| partial(&path));
            let replaced = replace_file_by(disk.as_ref(), &temporary, &path, &bytes);
            match replaced {
                // Another writer removed this temporary file and left the same manifest.
                Err(StoreError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound && is_written() => {}
                other => other?,
            }
        }
        self.leases.clear()?;
        self.clear_up(cache)?;
        Ok(Some(manifest))
    }

    /// Removes the leftovers of dead workers, if this is the last worker. While another worker holds the lock,
    /// leftovers cannot be distinguished from files being written.
    fn clear_up(&self, cache: &WriterCore) -> Result<()> {
        let WriterCore { folder, disk, .. } = cache;
        let shards_folder = folder.join(SHARDS_FOLDER);
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        if leftovers(folder)?.is_empty() && leftovers(&shards_folder)?.is_empty() {
            return Ok(());
        }
        let _alone = match Lock::take(folder) {
            Err(StoreError::Locked { .. }) => return Ok(()),
            taken => taken?,
        };
        remove_leftovers(disk.as_ref(), folder)?;
        remove_leftovers(disk.as_ref(), &shards_folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;
    use crate::format::settings::Existing;
    use crate::fs::failing::FailingDisk;
    use crate::support::{files_below, fill, lengths, settings, work, write_plan};
    use hayloft_runtime::Dtype;

    #[test]
    fn one_workers_full_disk_is_its_own_error_and_the_others_fill_the_cache() {
        let (folder, whole) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write_plan(folder.path(), &lengths());
        write_plan(whole.path(), &lengths());
        let (ours, existing) = (settings(Dtype::Bf16, Codec::PLANES), Existing::Refuse);
        fill(CacheWriter::open(whole.path(), ours, NonFinite::Refuse, existing).unwrap()).unwrap();
        let join = |disk: FailingDisk| {
            let settings = settings(Dtype::Bf16, Codec::PLANES);
            CacheWriter::open_shared_on(Arc::new(disk), folder.path(), settings, NonFinite::Refuse, Sharing::default())
        };
        // Raises the point of failure until the disk has enough room.
        for room in (0..).step_by(997) {
            match join(FailingDisk::full_after(room)).and_then(work) {
                Ok(_) => break,
                Err(error) => assert!(matches!(error, StoreError::DiskFull { .. }), "{error}"),
            }
            let unfinished = fs::read_dir(folder.path().join(SHARDS_FOLDER)).into_iter().flatten().flatten();
            assert!(!unfinished.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with('.')));
            // The failed worker released its claim, so there is no lease to wait for.
            work(join(FailingDisk::full_after(i64::MAX)).unwrap()).unwrap();
            assert_eq!(files_below(folder.path()), files_below(whole.path()));
            fs::remove_dir_all(folder.path().join(SHARDS_FOLDER)).unwrap();
            fs::remove_file(folder.path().join(MANIFEST_FILE)).unwrap();
        }
    }
}
