//! One of several workers that fill a cache, and how it commits a shard.

use std::path::Path;
use std::sync::{Arc, Mutex};

use super::bucket::Bucket;
use super::difference::tell_of_difference;
use super::leases::Leases;
use crate::error::Result;
use crate::format::shard_record::WrittenShard;
use crate::fs::lock::Lock;
use crate::fs::staged::{StagedFolder, move_aside, move_back, partial_of, remove_entry};
use crate::write::core::WriterCore;

/// One of several workers that fill a cache.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) leases: Leases,
    /// Its unique name.
    pub(crate) name: String,
    /// The bucket that shards are uploaded to, if the local folder is only a scratch folder.
    pub(crate) bucket: Option<Arc<Bucket>>,
    /// The lock on the folder that shards are written to. Shared with the other workers, except for a scratch folder.
    /// Released at the end.
    pub(crate) lock: Mutex<Option<Lock>>,
}

impl Worker {
    /// Commits a filled shard and releases the claim on it. If another worker was first, this worker's files are dropped and
    /// the other's shard is returned.
    pub(crate) fn commit(&self, cache: &WriterCore, staged: StagedFolder, shard: WrittenShard) -> Result<WrittenShard> {
        let shard = match &self.bucket {
            None => cache.commit_first(&self.name, staged, shard)?,
            Some(bucket) => {
                staged.commit()?;
                bucket.push_shard(cache, &self.name, &shard)?
            }
        };
        self.leases.finish(shard.index())?;
        Ok(shard)
    }

    /// Returns the shard of this number if another worker has finished it meanwhile.
    pub(crate) fn of_another(&self, cache: &WriterCore, index: usize) -> Result<Option<WrittenShard>> {
        match &self.bucket {
            None => WrittenShard::find(&cache.folder, index, &cache.plan, &cache.settings),
            Some(_) => Ok(None),
        }
    }
}

impl WriterCore {
    /// Commits a shard to a shared folder, unless another worker's whole one is there.
    fn commit_first(&self, worker: &str, mut staged: StagedFolder, shard: WrittenShard) -> Result<WrittenShard> {
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
    use crate::write::mode::WriteMode;
    use hayloft_runtime::Dtype;

    #[test]
    fn making_room_and_taking_over_remove_nothing_that_is_whole_or_in_use() {
        let folder = tempfile::tempdir().unwrap();
        write_plan(folder.path(), &lengths());
        let settings = settings(Dtype::Bf16, Codec::PLANES);
        let writer = CacheWriter::open_shared(folder.path(), settings, NonFinite::Refuse, Sharing::default()).unwrap();
        let core = writer.core();
        let WriteMode::Shared(worker) = &core.mode else { panic!("a worker is expected") };
        let shards = folder.path().join("shards");
        let place = shards.join("00000");
        // It was found incomplete and has become whole since.
        fill_shard(&writer, 0).unwrap();
        let whole = files_below(&shards);
        core.make_room(&worker.name, &place, 0).unwrap();
        worker.prepare(core, 0, &[]).unwrap();
        assert_eq!(files_below(&shards), whole);
        // An incomplete shard is removed.
        fs::remove_file(place.join("tokens.parquet")).unwrap();
        core.make_room(&worker.name, &place, 0).unwrap();
        assert_eq!(fs::read_dir(&shards).unwrap().count(), 0);
        core.make_room(&worker.name, &place, 0).unwrap();

        // Unfinished folders are removed if their workers have ended.
        for worker in ["dead", "silent"] {
            fs::create_dir(partial_of(worker, &place)).unwrap();
        }
        worker.prepare(core, 0, &["dead".to_owned()]).unwrap();
        let left: Vec<_> = fs::read_dir(&shards).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [".00000.silent.partial"]);
    }
}
