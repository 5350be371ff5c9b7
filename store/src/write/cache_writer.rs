//! Filling a cache: which planned shards are whole, which are to be written, and the manifest over them.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::FORMAT_VERSION;
use crate::error::{Result, StoreError};
use crate::format::manifest::{MANIFEST_FILE, Manifest};
use crate::format::plan::{PLAN_FILE, Plan, PlanReader, shard_name};
use crate::format::records::ShardRecord;
use crate::format::settings::{Existing, HarvestSettings, NonFinite};
use crate::format::shard_record::{SHARDS_FOLDER, WrittenShard};
use crate::format::tables::sequences::Sequence;
use crate::format::tables::tokens::Tokens;
use crate::format::totals::Totals;
use crate::fs::disk::Disk;
use crate::fs::json;
use crate::fs::lock::Lock;
use crate::fs::machine::machine;
use crate::fs::staged::{create_folder, discard, leftovers, partial, remove_leftovers, replace_file, replace_file_by};
use crate::remote::{Location, RemoteOptions};
use crate::workers::{
    Beside, Bucket, CLAIMS_FOLDER, ClaimPlace, Company, Filled, FolderClaims, Leases, Sharing, Turns, session,
    worker_name,
};
use crate::write::core::WriterCore;
use crate::write::known_shards::{KnownShards, Records};
use crate::write::shard_writer::ShardWriter;

/// How long a manifest may lag behind the shards while more are being written.
const MANIFEST_INTERVAL: Duration = Duration::from_secs(5);

/// Of the time of a writer, manifests take one part in so many.
const MANIFEST_SHARE: u32 = 50;

/// The one writer of a cache, which holds the cache's lock until it and every [`ShardWriter`] that it gave out are gone; or one of
/// several workers, which share it (see [`Self::open_beside`]).
#[derive(Debug)]
pub struct CacheWriter {
    shared: Arc<WriterCore>,
    shards: KnownShards,
    /// When the manifest is to be written next.
    manifest_due: Option<Instant>,
}

impl CacheWriter {
    /// Takes the lock of `folder`, which must have a plan, and finds which shards are whole.
    ///
    /// # Errors
    /// [`StoreError::MissingPlan`] without a plan; [`StoreError::Locked`] where another process writes;
    /// [`StoreError::Exists`] where there are shards and `existing` does not allow for any; [`StoreError::Mismatch`]
    /// where a shard was made with other settings; [`StoreError::OldVersion`] where the plan is of an earlier version of the
    /// format, so that no cache is of two.
    pub fn open(folder: &Path, settings: HarvestSettings, non_finite: NonFinite, existing: Existing) -> Result<Self> {
        Self::open_on(machine(), folder, settings, non_finite, existing)
    }

    pub(crate) fn open_on(
        disk: Arc<dyn Disk>,
        folder: &Path,
        settings: HarvestSettings,
        non_finite: NonFinite,
        existing: Existing,
    ) -> Result<Self> {
        let settings = settings.checked()?;
        check_planned(folder)?;
        let lock = Lock::take(folder)?;
        let plan = present_plan(folder, folder)?;
        let shards_folder = folder.join(SHARDS_FOLDER);
        if existing == Existing::Refuse {
            refuse_existing(folder, &shards_folder)?;
        }
        remove_leftovers(disk.as_ref(), folder)?;
        remove_leftovers(disk.as_ref(), &shards_folder)?;
        // Of workers who are gone: while any is there, the lock cannot be had alone.
        discard(disk.as_ref(), &folder.join(CLAIMS_FOLDER))?;
        create_folder(disk.as_ref(), &shards_folder)?;
        let company = Company::Alone { _lock: lock };
        let shared = WriterCore { folder: folder.to_owned(), disk, plan, settings, non_finite, company };
        let shards = KnownShards::find(&shared)?;
        Ok(Self { shared: Arc::new(shared), shards, manifest_due: None })
    }

    /// Joins the workers that fill the cache in `folder`, which must have a plan and may be on any file system that machines share.
    /// Shards that are whole are kept. [`Self::turns`] hands out the others, each to one worker.
    ///
    /// # Errors
    /// Those of [`Self::open`], and [`StoreError::Mismatch`] where the other workers were asked for something else, or are of
    /// another version.
    pub fn open_beside(
        folder: &Path,
        settings: HarvestSettings,
        non_finite: NonFinite,
        sharing: Sharing,
    ) -> Result<Self> {
        Self::open_beside_on(machine(), folder, settings, non_finite, sharing)
    }

    fn open_beside_on(
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

    /// Joins the workers that fill the cache at `location`, where a plan has been pushed. Shards are written to a folder in
    /// `scratch`, pushed, and removed there.
    ///
    /// # Errors
    /// Those of [`Self::open_beside`], and [`StoreError::Remote`] where the bucket is away for minutes.
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

    /// The plan.
    pub fn plan(&self) -> &Plan {
        self.shared.plan.plan()
    }

    /// The settings, with the sites in order.
    pub fn settings(&self) -> &HarvestSettings {
        &self.shared.settings
    }

    /// The sequences and tokens of a planned shard.
    pub fn plan_shard(&self, index: usize) -> Result<(Vec<Sequence>, Tokens)> {
        self.shared.plan.sequences_and_tokens(index)
    }

    /// The shards of a range that are to be filled, one at a time.
    pub fn turns(&self, range: Range<usize>) -> Result<Turns> {
        Turns::new(Arc::clone(&self.shared), range, |shard| self.is_complete(shard))
    }

    /// Whether a shard is known to be whole, and so need not be written.
    pub fn is_complete(&self, index: usize) -> bool {
        self.shards.contains(index)
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Arc<WriterCore> {
        &self.shared
    }

    /// A shard that is whole.
    pub(crate) fn whole(&self, index: usize) -> Option<ShardRecord> {
        self.shards.record(&self.shared, index)
    }

    /// Starts writing a planned shard. Several may be written at the same time, on any thread.
    ///
    /// # Errors
    /// [`StoreError::Exists`] where it is whole already.
    pub fn begin_shard(&self, index: usize) -> Result<ShardWriter> {
        if self.is_complete(index) {
            return Err(StoreError::Exists { path: self.shared.folder.join(SHARDS_FOLDER).join(shard_name(index)) });
        }
        ShardWriter::create(Arc::clone(&self.shared), index)
    }

    /// Takes note of a shard that is finished. The manifest follows at once or within seconds; if no other shard comes,
    /// by [`Self::finish`].
    #[expect(clippy::needless_pass_by_value, reason = "a shard is recorded once")]
    pub fn record(&mut self, shard: WrittenShard) -> Result<()> {
        if let Company::Beside(beside) = &self.shared.company {
            beside.filled.lock().unwrap_or_else(PoisonError::into_inner).add(&shard);
            return Ok(());
        }
        self.shards.add(&self.shared, &shard);
        if self.manifest_due.is_none_or(|due| Instant::now() >= due) {
            self.write_manifest(|_| ())?;
        }
        Ok(())
    }

    /// Writes the manifest over all shards that are whole, and returns it.
    ///
    /// Beside other workers, it is written by whoever ends when all planned shards are there; before that, nothing is written, and
    /// what is returned is over the shards that this worker has filled.
    pub fn finish(mut self) -> Result<Manifest> {
        let Some(beside) = self.shared.company.beside() else {
            return self.write_manifest(|manifest| {
                let records = manifest.shards.iter().collect();
                manifest.listing(records)
            });
        };
        let WriterCore { plan, settings, .. } = self.shared.as_ref();
        let written = match &beside.bucket {
            Some(bucket) => bucket.finish(plan, settings)?,
            None => self.finish_beside(beside)?,
        };
        let filled = || beside.filled.lock().unwrap_or_else(PoisonError::into_inner).manifest(plan, settings);
        Ok(written.unwrap_or_else(filled))
    }

    /// Writes the manifest and removes the claims, if all planned shards are there. However many do it at once, it is the same.
    fn finish_beside(&self, beside: &Beside) -> Result<Option<Manifest>> {
        let WriterCore { folder, disk, plan, settings, .. } = self.shared.as_ref();
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
            let temporary = self.shared.company.temporary(&path).unwrap_or_else(|| partial(&path));
            let replaced = replace_file_by(disk.as_ref(), &temporary, &path, &bytes);
            match replaced {
                // A writer that came after the others cleared this one's away, and left the same manifest.
                Err(StoreError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound && is_written() => {}
                other => other?,
            }
        }
        beside.leases.clear()?;
        self.clear_up(beside)?;
        Ok(Some(manifest))
    }

    /// Removes what workers left that are gone, if this is the last one: while another holds the lock, which of it is unfinished and
    /// which is being written cannot be told.
    fn clear_up(&self, beside: &Beside) -> Result<()> {
        let WriterCore { folder, disk, .. } = self.shared.as_ref();
        let shards_folder = folder.join(SHARDS_FOLDER);
        beside.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
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

    /// Writes the manifest over the shards that are whole, and returns what `then` makes of it.
    fn write_manifest<T>(&mut self, then: impl FnOnce(Manifest<Records<'_>>) -> T) -> Result<T> {
        let (started, WriterCore { folder, disk, .. }) = (Instant::now(), self.shared.as_ref());
        let manifest = self.shards.manifest(&self.shared)?;
        let path = folder.join(MANIFEST_FILE);
        replace_file(disk.as_ref(), &path, &json::seal(&path, &manifest)?)?;
        // One that takes long, over many shards, is to take little of the time.
        let pause = MANIFEST_INTERVAL.max(started.elapsed() * MANIFEST_SHARE);
        self.manifest_due = Some(Instant::now() + pause);
        Ok(then(manifest))
    }
}

/// A worker that is about to join others.
struct Joining<'a> {
    disk: Arc<dyn Disk>,
    /// Where shards are written.
    folder: &'a Path,
    /// Where the cache is, for errors.
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
        let plan = present_plan(folder, &cache)?;
        session::join(place.as_ref(), &cache, plan.blake3(), &settings)?;
        create_folder(disk.as_ref(), &folder.join(SHARDS_FOLDER))?;
        let leases = Leases::new(place, worker.clone(), sharing.lease);
        let filled = Mutex::new(Filled::new(&settings));
        let company =
            Company::Beside(Box::new(Beside { leases, worker, bucket, lock: Mutex::new(Some(lock)), filled }));
        let shared = WriterCore { folder: folder.to_owned(), disk, plan, settings, non_finite, company };
        let shards = KnownShards::new(&shared);
        Ok(CacheWriter { shared: Arc::new(shared), shards, manifest_due: None })
    }
}

/// Fails without a plan: there may be no folder either then, and none to put a lock in.
fn check_planned(folder: &Path) -> Result<()> {
    if folder.join(PLAN_FILE).exists() { Ok(()) } else { Err(StoreError::MissingPlan { folder: folder.to_owned() }) }
}

/// The plan in `folder`, which must be of the present format; errors are of `cache`.
fn present_plan(folder: &Path, cache: &Path) -> Result<PlanReader> {
    let plan = PlanReader::open(folder)?;
    let (expected, got) = (FORMAT_VERSION, plan.plan().format);
    if got == expected { Ok(plan) } else { Err(StoreError::OldVersion { folder: cache.to_owned(), expected, got }) }
}

/// Fails if there is a manifest or any shard.
fn refuse_existing(folder: &Path, shards_folder: &Path) -> Result<()> {
    let manifest = folder.join(MANIFEST_FILE);
    if manifest.exists() {
        return Err(StoreError::Exists { path: manifest });
    }
    for entry in fs::read_dir(shards_folder).into_iter().flatten() {
        let entry = entry.map_err(|source| StoreError::io(shards_folder, "list", source))?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            return Err(StoreError::Exists { path: entry.path() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;
    use crate::fs::failing::FailingDisk;
    use crate::maintain::verify::verify;
    use crate::support::{files_below, fill, fill_shard, lengths, read_everything, settings, work, write_plan};
    use hayloft_runtime::Dtype;

    fn open(disk: FailingDisk, folder: &Path, existing: Existing) -> Result<CacheWriter> {
        let settings = settings(Dtype::Bf16, Codec::Planes);
        CacheWriter::open_on(Arc::new(disk), folder, settings, NonFinite::Refuse, existing)
    }

    /// Fills a cache on a disk that fails at ever later points, until it gets through. Whatever fails, what is there is
    /// whole, and the harvest can go on.
    fn fails_cleanly_at_every_point(disk: impl Fn(i64) -> FailingDisk, step: i64) {
        let folder = tempfile::tempdir().unwrap();
        write_plan(folder.path(), &lengths());
        let untouched = files_below(folder.path());
        let whole = tempfile::tempdir().unwrap();
        write_plan(whole.path(), &lengths());
        fill(open(disk(i64::MAX), whole.path(), Existing::Refuse).unwrap()).unwrap();
        let expected = files_below(whole.path());

        let mut failures = 0;
        for budget in (0..).step_by(step as usize) {
            match open(disk(budget), folder.path(), Existing::Resume).and_then(fill) {
                Ok(_) => break,
                Err(error) => assert!(matches!(error, StoreError::DiskFull { .. }), "{error}"),
            }
            failures += 1;
            for (name, bytes) in files_below(folder.path()) {
                if name != MANIFEST_FILE {
                    assert_eq!(expected.get(&name), Some(&bytes), "{name} is left behind");
                }
            }
            if folder.path().join(MANIFEST_FILE).exists() {
                read_everything(folder.path()).unwrap();
                assert_eq!(verify(folder.path(), &mut |_| ()).unwrap().damages, []);
            } else if budget == 0 {
                assert_eq!(files_below(folder.path()), untouched);
            }
            let _ = fs::remove_dir_all(folder.path().join(SHARDS_FOLDER));
            let _ = fs::remove_file(folder.path().join(MANIFEST_FILE));
        }
        assert!(failures > 20, "{failures} failures are too few to have met every commit");
        assert_eq!(files_below(folder.path()), expected);
    }

    #[test]
    fn a_disk_that_breaks_at_any_operation_leaves_nothing_half_written() {
        fails_cleanly_at_every_point(FailingDisk::breaks_at, 1);
    }

    #[test]
    fn a_disk_that_is_full_after_any_number_of_bytes_leaves_nothing_half_written() {
        fails_cleanly_at_every_point(FailingDisk::full_after, 251);
    }

    #[test]
    fn one_workers_full_disk_is_its_own_error_and_the_others_fill_the_cache() {
        let (folder, whole) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write_plan(folder.path(), &lengths());
        write_plan(whole.path(), &lengths());
        fill(open(FailingDisk::full_after(i64::MAX), whole.path(), Existing::Refuse).unwrap()).unwrap();
        let join = |disk: FailingDisk| {
            let settings = settings(Dtype::Bf16, Codec::Planes);
            CacheWriter::open_beside_on(Arc::new(disk), folder.path(), settings, NonFinite::Refuse, Sharing::default())
        };
        // At ever later points, until its disk has room for all of it.
        for room in (0..).step_by(997) {
            match join(FailingDisk::full_after(room)).and_then(work) {
                Ok(_) => break,
                Err(error) => assert!(matches!(error, StoreError::DiskFull { .. }), "{error}"),
            }
            let unfinished = fs::read_dir(folder.path().join(SHARDS_FOLDER)).into_iter().flatten().flatten();
            assert!(!unfinished.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with('.')));
            // There is no lease to wait for: what was claimed was released.
            work(join(FailingDisk::full_after(i64::MAX)).unwrap()).unwrap();
            assert_eq!(files_below(folder.path()), files_below(whole.path()));
            fs::remove_dir_all(folder.path().join(SHARDS_FOLDER)).unwrap();
            fs::remove_file(folder.path().join(MANIFEST_FILE)).unwrap();
        }
    }

    #[test]
    fn a_full_disk_says_so_with_advice() {
        let folder = tempfile::tempdir().unwrap();
        write_plan(folder.path(), &lengths());
        let writer = open(FailingDisk::full_after(3000), folder.path(), Existing::Refuse).unwrap();
        let error = fill_shard(&writer, 0).unwrap_err();
        assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("00000") && text.contains("--resume"), "{text}");
        assert_eq!(fs::read_dir(folder.path().join(SHARDS_FOLDER)).unwrap().count(), 0);
    }
}
