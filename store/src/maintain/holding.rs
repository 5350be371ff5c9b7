//! A cache opened for maintenance: its plan, its settings, and the records of its complete shards.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Result, StoreError};
use crate::format::difference::Difference;
use crate::format::manifest::MANIFEST_FILE;
use crate::format::plan::{PlanReader, shard_name};
use crate::format::records::{FileRecord, ShardRecord};
use crate::format::settings::HarvestSettings;
use crate::format::shard_record::{SHARDS_FOLDER, WrittenShard};
use crate::fs::folder::Folder;
use crate::maintain::differences;
use crate::read::cache::Cache;
use crate::read::verify::plan_of;

/// A cache that is to be combined with others, or changed.
pub(super) struct Holding {
    pub(super) cache: Cache,
    pub(super) plan: PlanReader,
    pub(super) settings: HarvestSettings,
    /// By index in the plan.
    pub(super) shards: BTreeMap<usize, WrittenShard>,
}

impl Holding {
    /// Reads the records of the cache in `folder`: the shards that its manifest lists, and complete shards missing from
    /// it after a killed harvest.
    ///
    /// # Errors
    /// Those of [`Cache::open`] and [`PlanReader::open`]; damage to a record, with its name.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let cache = Cache::open(folder)?;
        let plan = plan_of(&cache)?;
        let settings = cache.manifest().settings();
        let mut shards = BTreeMap::new();
        for record in &cache.manifest().shards {
            let contents = cache.contents(record)?;
            let planned = &plan.shard(record.index)?.counts;
            let shard = WrittenShard { contents, record: record.clone() };
            if &record.counts != planned || shards.insert(record.index, shard).is_some() {
                return Err(StoreError::Malformed {
                    path: folder.join(MANIFEST_FILE),
                    expected: format!("shard {} once, with the {} tokens planned", record.index, planned.tokens),
                    got: format!("it twice or with {} tokens", record.counts.tokens),
                });
            }
        }
        for index in 0..plan.plan().shards.len() {
            if !shards.contains_key(&index)
                && let Some(shard) = WrittenShard::find(folder, index, &plan, &settings)?
            {
                shards.insert(index, shard);
            }
        }
        Ok(Self { cache, plan, settings, shards })
    }

    pub(super) fn folder(&self) -> &Path {
        self.cache.folder()
    }

    /// The path of a shard's file.
    pub(super) fn locate(&self, shard: &WrittenShard, file: &FileRecord) -> Result<PathBuf> {
        let folder = Folder::new(self.folder());
        folder.locate(&self.folder().join(MANIFEST_FILE), &format!("{}/{}", shard.record.path, file.path))
    }

    /// The error for a difference between `other` and this cache.
    pub(super) fn unlike(&self, other: &Self, (field, expected, got): Difference) -> StoreError {
        self.unlike_in(other.folder(), field, expected, got)
    }

    /// Like `unlike`, for something at `path`.
    pub(super) fn unlike_in(
        &self,
        path: &Path,
        field: impl Into<Box<str>>,
        expected: impl Into<Box<str>>,
        got: impl Into<Box<str>>,
    ) -> StoreError {
        StoreError::Unlike {
            path: path.to_owned(),
            field: field.into(),
            expected: expected.into(),
            got: got.into(),
            like: self.folder().to_owned(),
        }
    }

    /// Checks that `other` has the same plan and was made with `settings`.
    pub(super) fn check_alike(&self, other: &Self, settings: &HarvestSettings) -> Result<()> {
        let difference = differences::first((&self.plan, settings), (&other.plan, &other.settings));
        difference.map_or(Ok(()), |difference| Err(self.unlike(other, difference)))
    }

    /// Checks that the files of a shard are the same in `other`, if both have it.
    pub(super) fn check_same_shard(&self, other: &Self, index: usize) -> Result<()> {
        let (Some(ours), Some(theirs)) = (self.shards.get(&index), other.shards.get(&index)) else {
            return Ok(());
        };
        let mut pairs = ours.record.files.iter().zip(&theirs.record.files);
        match pairs.find(|(ours, theirs)| ours != theirs) {
            None => Ok(()),
            // If `shard.json` differs, so does a file that it lists. That file is more informative.
            Some(first) => {
                let (ours, theirs) = pairs.find(|(ours, theirs)| ours != theirs).unwrap_or(first);
                let path = other.folder().join(&other.shards[&index].record.path).join(&theirs.path);
                Err(self.unlike_in(&path, format!("shard {index}"), hash(ours), hash(theirs)))
            }
        }
    }
}

fn hash(file: &FileRecord) -> String {
    format!("{} bytes of BLAKE3 {}", file.bytes, file.blake3)
}

/// A shard's record with the standard path.
pub(super) fn at_home(shard: &WrittenShard) -> WrittenShard {
    let path = home(shard.index());
    WrittenShard { contents: shard.contents.clone(), record: ShardRecord { path, ..shard.record.clone() } }
}

/// The standard path of a shard.
pub(super) fn home(index: usize) -> String {
    format!("{SHARDS_FOLDER}/{}", shard_name(index))
}
