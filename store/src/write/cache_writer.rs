//! Filling a cache: tracking of complete and missing shards, and writing of the manifest.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Result, StoreError};
use crate::format::manifest::{MANIFEST_FILE, Manifest};
use crate::format::plan::{PLAN_FILE, Plan, PlanReader, shard_name};
use crate::format::records::ShardRecord;
use crate::format::settings::{Existing, HarvestSettings, NonFinite};
use crate::format::shard_record::{CLAIMS_FOLDER, SHARDS_FOLDER, WrittenShard};
use crate::format::tables::sequences::Sequence;
use crate::format::tables::tokens::Tokens;
use crate::fs::disk::Disk;
use crate::fs::json;
use crate::fs::lock::Lock;
use crate::fs::machine::machine;
use crate::fs::staged::{create_folder, discard, remove_leftovers, replace_file};
use crate::write::core::WriterCore;
use crate::write::known_shards::{KnownShards, Records};
use crate::write::mode::WriteMode;
use crate::write::shard_queue::ShardQueue;
use crate::write::shard_writer::ShardWriter;

/// Maximum delay of the manifest behind the shards while more are being written.
const MANIFEST_INTERVAL: Duration = Duration::from_secs(5);

/// Inverse of the maximum fraction of a writer's time spent on manifests.
const MANIFEST_SHARE: u32 = 50;

/// The writer of a cache. It is either the only one, and holds the cache's lock until it and all its [`ShardWriter`]s
/// are dropped, or one of several workers that share the lock (feature `workers`).
#[derive(Debug)]
pub struct CacheWriter {
    core: Arc<WriterCore>,
    shards: KnownShards,
    manifest_due: Option<Instant>,
}

impl CacheWriter {
    /// Takes the lock of `folder`, which must have a plan, and finds the complete shards.
    ///
    /// # Errors
    /// [`StoreError::MissingPlan`] without a plan; [`StoreError::Locked`] if another process holds the lock;
    /// [`StoreError::Exists`] if there are shards and `existing` forbids them; [`StoreError::Mismatch`] if a shard has
    /// other settings.
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
        let plan = PlanReader::open(folder)?;
        let shards_folder = folder.join(SHARDS_FOLDER);
        if existing == Existing::Refuse {
            refuse_existing(folder, &shards_folder)?;
        }
        remove_leftovers(disk.as_ref(), folder)?;
        remove_leftovers(disk.as_ref(), &shards_folder)?;
        // Left by dead workers: a live one would prevent the exclusive lock.
        discard(disk.as_ref(), &folder.join(CLAIMS_FOLDER))?;
        create_folder(disk.as_ref(), &shards_folder)?;
        let mode = WriteMode::Exclusive { _lock: lock };
        let core = WriterCore { folder: folder.to_owned(), disk, plan, settings, non_finite, mode };
        let shards = KnownShards::find(&core)?;
        Ok(Self { core: Arc::new(core), shards, manifest_due: None })
    }

    /// The writer of one of several workers.
    #[cfg(feature = "workers")]
    pub(crate) fn of_worker(core: WriterCore) -> Self {
        let shards = KnownShards::new(&core);
        Self { core: Arc::new(core), shards, manifest_due: None }
    }

    /// Returns the plan.
    pub fn plan(&self) -> &Plan {
        self.core.plan.plan()
    }

    /// Returns the settings, with sorted sites.
    pub fn settings(&self) -> &HarvestSettings {
        &self.core.settings
    }

    /// Reads the sequences and tokens of a planned shard.
    pub fn plan_shard(&self, index: usize) -> Result<(Vec<Sequence>, Tokens)> {
        self.core.plan.sequences_and_tokens(index)
    }

    /// Hands out the missing shards of a range, one at a time.
    pub fn queue(&self, range: Range<usize>) -> Result<ShardQueue> {
        ShardQueue::new(Arc::clone(&self.core), range, |shard| self.is_complete(shard))
    }

    /// Returns whether a shard is known to be complete.
    pub fn is_complete(&self, index: usize) -> bool {
        self.shards.contains(index)
    }

    #[cfg(test)]
    pub(crate) fn core(&self) -> &Arc<WriterCore> {
        &self.core
    }

    /// Returns the record of a complete shard.
    pub(crate) fn whole(&self, index: usize) -> Option<ShardRecord> {
        self.shards.record(&self.core, index)
    }

    /// Starts writing a planned shard. Several shards can be written concurrently, on any thread.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if the shard is already complete.
    pub fn begin_shard(&self, index: usize) -> Result<ShardWriter> {
        if self.is_complete(index) {
            return Err(StoreError::Exists { path: self.core.folder.join(SHARDS_FOLDER).join(shard_name(index)) });
        }
        ShardWriter::create(Arc::clone(&self.core), index)
    }

    /// Records a finished shard. The manifest is updated at once or within seconds, or by [`Self::finish`] if no other
    /// shard follows.
    #[expect(clippy::needless_pass_by_value, reason = "a shard is recorded once")]
    pub fn record(&mut self, shard: WrittenShard) -> Result<()> {
        #[cfg(feature = "workers")]
        if matches!(self.core.mode, WriteMode::Shared(_)) {
            self.shards.add_own(&shard);
            return Ok(());
        }
        self.shards.add(&self.core, &shard);
        if self.manifest_due.is_none_or(|due| Instant::now() >= due) {
            self.write_manifest(|_| ())?;
        }
        Ok(())
    }

    /// Writes the manifest over all complete shards, and returns it.
    ///
    /// With several workers, the manifest is written by a worker that finishes once all planned shards are complete.
    /// Before that, nothing is written, and the returned manifest covers the shards that this worker filled.
    pub fn finish(mut self) -> Result<Manifest> {
        #[cfg(feature = "workers")]
        if let WriteMode::Shared(worker) = &self.core.mode {
            let written = worker.finish(&self.core)?;
            return Ok(written.unwrap_or_else(|| self.shards.of_worker(&self.core)));
        }
        self.write_manifest(|manifest| {
            let records = manifest.shards.iter().collect();
            manifest.listing(records)
        })
    }

    /// Writes the manifest over the complete shards, and returns the result of `then` on it.
    fn write_manifest<T>(&mut self, then: impl FnOnce(Manifest<Records<'_>>) -> T) -> Result<T> {
        let (started, WriterCore { folder, disk, .. }) = (Instant::now(), self.core.as_ref());
        let manifest = self.shards.manifest(&self.core)?;
        let path = folder.join(MANIFEST_FILE);
        replace_file(disk.as_ref(), &path, &json::seal(&path, &manifest)?)?;
        // Limits the share of time when the manifest has many shards.
        let pause = MANIFEST_INTERVAL.max(started.elapsed() * MANIFEST_SHARE);
        self.manifest_due = Some(Instant::now() + pause);
        Ok(then(manifest))
    }
}

/// Fails without a plan. Checked before locking, because the folder may not exist.
pub(crate) fn check_planned(folder: &Path) -> Result<()> {
    if folder.join(PLAN_FILE).exists() { Ok(()) } else { Err(StoreError::MissingPlan { folder: folder.to_owned() }) }
}

/// Fails if there is a manifest or a shard.
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
    use crate::read::verify::verify;
    use crate::support::{files_below, fill, fill_shard, lengths, read_everything, settings, write_plan};
    use hayloft_runtime::Dtype;

    fn open(disk: FailingDisk, folder: &Path, existing: Existing) -> Result<CacheWriter> {
        let settings = settings(Dtype::Bf16, Codec::PLANES);
        CacheWriter::open_on(Arc::new(disk), folder, settings, NonFinite::Refuse, existing)
    }

    /// Fills a cache on a disk that fails at later and later points, until it succeeds. After each failure, all
    /// remaining files are complete and the harvest can resume.
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
