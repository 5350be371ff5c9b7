//! Filling a cache: which planned shards are whole, which are to be written, and the manifest over them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::FORMAT_VERSION;
use crate::error::{Result, StoreError};
use crate::files::disk::{Disk, FileSystem};
use crate::files::json;
use crate::files::lock::Lock;
use crate::files::staged::{create_folders, remove_leftovers, replace_file};
use crate::manifest::{MANIFEST_FILE, Manifest};
use crate::plan::{Plan, PlanReader, shard_name};
use crate::settings::{Existing, HarvestSettings, NonFinite};
use crate::shard_contents::{SHARDS_FOLDER, WrittenShard};
use crate::shard_writer::ShardWriter;
use crate::tables::sequences::Sequence;
use crate::tables::tokens::Tokens;

/// How long a manifest may lag behind the shards while more are being written.
const MANIFEST_INTERVAL: Duration = Duration::from_secs(5);

/// The one writer of a cache. It holds the cache's lock until it and every [`ShardWriter`] that it gave out are gone.
#[derive(Debug)]
pub struct CacheWriter {
    shared: Arc<Shared>,
    shards: BTreeMap<usize, WrittenShard>,
    manifest_written: Option<Instant>,
}

/// What a cache's writer and its shards' writers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) folder: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) plan: PlanReader,
    pub(crate) settings: HarvestSettings,
    pub(crate) non_finite: NonFinite,
    _lock: Lock,
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
        Self::open_on(Arc::new(FileSystem), folder, settings, non_finite, existing)
    }

    pub(crate) fn open_on(
        disk: Arc<dyn Disk>,
        folder: &Path,
        settings: HarvestSettings,
        non_finite: NonFinite,
        existing: Existing,
    ) -> Result<Self> {
        let settings = settings.checked()?;
        // Without a plan there may be no folder either, and none to put a lock in.
        if !folder.join(crate::plan::PLAN_FILE).exists() {
            return Err(StoreError::MissingPlan { folder: folder.to_owned() });
        }
        let lock = Lock::take(folder)?;
        let plan = PlanReader::open(folder)?;
        if plan.plan().format != FORMAT_VERSION {
            let (expected, got) = (FORMAT_VERSION, plan.plan().format);
            return Err(StoreError::OldVersion { folder: folder.to_owned(), expected, got });
        }
        let shards_folder = folder.join(SHARDS_FOLDER);
        if existing == Existing::Refuse {
            refuse_existing(folder, &shards_folder)?;
        }
        remove_leftovers(folder)?;
        remove_leftovers(&shards_folder)?;
        create_folders(&shards_folder)?;
        let mut shards = BTreeMap::new();
        for index in 0..plan.plan().shards.len() {
            if let Some(shard) = WrittenShard::find(folder, index, &plan, &settings)? {
                shards.insert(index, shard);
            }
        }
        let shared = Shared { folder: folder.to_owned(), disk, plan, settings, non_finite, _lock: lock };
        Ok(Self { shared: Arc::new(shared), shards, manifest_written: None })
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

    /// Whether a shard is whole, and so need not be written.
    pub fn is_complete(&self, index: usize) -> bool {
        self.shards.contains_key(&index)
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
    pub fn record(&mut self, shard: WrittenShard) -> Result<()> {
        self.shards.insert(shard.index(), shard);
        if self.manifest_written.is_none_or(|written| written.elapsed() >= MANIFEST_INTERVAL) {
            self.write_manifest()?;
        }
        Ok(())
    }

    /// Writes the manifest over all shards that are whole.
    pub fn finish(mut self) -> Result<Manifest> {
        self.write_manifest()
    }

    fn write_manifest(&mut self) -> Result<Manifest> {
        let Shared { folder, disk, plan, settings, .. } = self.shared.as_ref();
        let manifest = Manifest::new(plan, settings, &self.shards);
        let path = folder.join(MANIFEST_FILE);
        replace_file(disk.as_ref(), &path, &json::seal(&path, &manifest)?)?;
        self.manifest_written = Some(Instant::now());
        Ok(manifest)
    }
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
    use crate::files::disk::failing::FailingDisk;
    use crate::support::{files_below, fill, fill_shard, lengths, read_everything, settings, write_plan};
    use crate::{Codec, Dtype, verify};

    fn open(disk: FailingDisk, folder: &Path, existing: Existing) -> CacheWriter {
        let settings = settings(Dtype::Bf16, Codec::Planes);
        CacheWriter::open_on(Arc::new(disk), folder, settings, NonFinite::Refuse, existing).unwrap()
    }

    /// Fills a cache on a disk that fails at ever later points, until it gets through. Whatever fails, what is there is
    /// whole, and the harvest can go on.
    fn fails_cleanly_at_every_point(disk: impl Fn(i64) -> FailingDisk, step: i64) {
        let folder = tempfile::tempdir().unwrap();
        write_plan(folder.path(), &lengths());
        let untouched = files_below(folder.path());
        let whole = tempfile::tempdir().unwrap();
        write_plan(whole.path(), &lengths());
        fill(open(disk(i64::MAX), whole.path(), Existing::Refuse)).unwrap();
        let expected = files_below(whole.path());

        let mut failures = 0;
        for budget in (0..).step_by(step as usize) {
            match fill(open(disk(budget), folder.path(), Existing::Resume)) {
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
            fs::remove_dir_all(folder.path().join(SHARDS_FOLDER)).unwrap();
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
        let writer = open(FailingDisk::full_after(3000), folder.path(), Existing::Refuse);
        let error = fill_shard(&writer, 0).unwrap_err();
        assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("00000") && text.contains("--resume"), "{text}");
        assert_eq!(fs::read_dir(folder.path().join(SHARDS_FOLDER)).unwrap().count(), 0);
    }
}
