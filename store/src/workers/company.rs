//! The other workers that fill a cache, and how a shard is committed beside them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::bucket::Bucket;
use super::difference::tell_of_difference;
use super::leases::Leases;
use crate::error::Result;
use crate::format::manifest::Manifest;
use crate::format::plan::PlanReader;
use crate::format::settings::HarvestSettings;
use crate::format::shard_record::WrittenShard;
use crate::format::totals::Totals;
use crate::fs::lock::Lock;
use crate::fs::staged::{StagedFolder, move_aside, move_back, partial_of, remove_entry};
use crate::write::core::WriterCore;
use crate::write::known_shards::FileHashes;

/// Whether other workers fill the cache too.
#[derive(Debug)]
pub(crate) enum Company {
    /// No other worker: this writer holds the cache's exclusive lock.
    Alone { _lock: Lock },
    /// Other workers, with claims on shards.
    Beside(Box<Beside>),
}

/// A worker that fills a cache beside others.
#[derive(Debug)]
pub(crate) struct Beside {
    pub(crate) leases: Leases,
    /// The unique name of this worker.
    pub(crate) worker: String,
    /// The bucket that shards are uploaded to, if the local folder is only a scratch folder.
    pub(crate) bucket: Option<Arc<Bucket>>,
    /// The lock on the folder that shards are written to. Shared with the other workers, except for a scratch folder.
    /// Released at the end.
    pub(crate) lock: Mutex<Option<Lock>>,
    /// The shards that this worker has filled, for its report.
    pub(crate) filled: Mutex<Filled>,
}

/// The shards that one worker has filled, in any order. Their totals are not compared with another worker's, so the order of
/// summation does not matter.
#[derive(Debug)]
pub(crate) struct Filled {
    totals: Totals,
    files: BTreeMap<usize, FileHashes>,
}

impl Filled {
    pub(crate) fn new(settings: &HarvestSettings) -> Self {
        Self { totals: Totals::new(settings), files: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, shard: &WrittenShard) {
        self.totals.add(shard);
        self.files.insert(shard.index(), FileHashes::of(shard));
    }

    pub(crate) fn manifest(&self, plan: &PlanReader, settings: &HarvestSettings) -> Manifest {
        let records = self.files.iter().map(|(index, files)| files.record(plan, settings, *index));
        self.totals.manifest(plan, settings, records.collect())
    }
}

impl Company {
    /// Returns this worker's state if other workers fill the cache too.
    pub(crate) fn beside(&self) -> Option<&Beside> {
        match self {
            Self::Alone { .. } => None,
            Self::Beside(beside) => Some(beside),
        }
    }

    /// The temporary folder that becomes `destination`.
    pub(crate) fn temporary(&self, destination: &Path) -> Option<PathBuf> {
        Some(partial_of(&self.beside()?.worker, destination))
    }
}

impl WriterCore {
    /// Commits a filled shard and releases the claim on it. If another worker was first, this worker's files are dropped and
    /// the other's shard is returned.
    pub(crate) fn commit(&self, staged: StagedFolder, shard: WrittenShard) -> Result<WrittenShard> {
        let Some(beside) = self.company.beside() else {
            staged.commit()?;
            return Ok(shard);
        };
        let shard = match &beside.bucket {
            None => self.commit_beside(&beside.worker, staged, shard)?,
            Some(bucket) => {
                staged.commit()?;
                bucket.push_shard(self, &beside.worker, &shard)?
            }
        };
        beside.leases.finish(shard.index())?;
        Ok(shard)
    }

    /// Returns the shard of this number if another worker has finished it meanwhile.
    pub(crate) fn of_another(&self, index: usize) -> Result<Option<WrittenShard>> {
        match self.company.beside() {
            Some(Beside { bucket: None, .. }) => WrittenShard::find(&self.folder, index, &self.plan, &self.settings),
            _ => Ok(None),
        }
    }

    fn commit_beside(&self, worker: &str, mut staged: StagedFolder, shard: WrittenShard) -> Result<WrittenShard> {
        while !staged.commit_where_free()? {
            if let Some(there) = WrittenShard::find(&self.folder, shard.index(), &self.plan, &self.settings)? {
                tell_of_difference(&shard, &there);
                return Ok(there);
            }
            self.make_room(worker, staged.destination(), shard.index())?;
        }
        Ok(shard)
    }

    /// Moves an incomplete shard out of the way. Another worker may have replaced it by a whole one since it was checked,
    /// even while this worker holds the claim. So the shard is checked again where no other worker touches it, and moved
    /// back if whole.
    fn make_room(&self, worker: &str, destination: &Path, index: usize) -> Result<()> {
        let disk = self.disk.as_ref();
        let aside = partial_of(&format!("{worker}.old"), destination);
        if !move_aside(disk, destination, &aside)? {
            return Ok(());
        }
        match WrittenShard::find_at(aside.clone(), index, &self.plan, &self.settings)? {
            Some(_) => move_back(disk, &aside, destination),
            None => remove_entry(disk, &aside),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::codec::Codec;
    use crate::format::settings::NonFinite;
    use crate::support::{files_below, fill_shard, lengths, settings, write_plan};
    use crate::workers::Sharing;
    use crate::write::cache_writer::CacheWriter;
    use hayloft_runtime::Dtype;

    #[test]
    fn whoever_makes_room_or_takes_over_removes_nothing_that_is_whole_or_in_use() {
        let folder = tempfile::tempdir().unwrap();
        write_plan(folder.path(), &lengths());
        let settings = settings(Dtype::Bf16, Codec::PLANES);
        let writer = CacheWriter::open_beside(folder.path(), settings, NonFinite::Refuse, Sharing::default()).unwrap();
        let shared = writer.shared();
        let beside = shared.company.beside().unwrap();
        let shards = folder.path().join("shards");
        let place = shards.join("00000");
        // It was found incomplete and has become whole since.
        fill_shard(&writer, 0).unwrap();
        let whole = files_below(&shards);
        shared.make_room(&beside.worker, &place, 0).unwrap();
        beside.prepare(shared, 0, &[]).unwrap();
        assert_eq!(files_below(&shards), whole);
        // An incomplete shard is removed.
        fs::remove_file(place.join("tokens.parquet")).unwrap();
        shared.make_room(&beside.worker, &place, 0).unwrap();
        assert_eq!(fs::read_dir(&shards).unwrap().count(), 0);
        shared.make_room(&beside.worker, &place, 0).unwrap();

        // Unfinished folders are removed if their workers have ended.
        for worker in ["dead", "silent"] {
            fs::create_dir(partial_of(worker, &place)).unwrap();
        }
        beside.prepare(shared, 0, &["dead".to_owned()]).unwrap();
        let left: Vec<_> = fs::read_dir(&shards).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [".00000.silent.partial"]);
    }
}
