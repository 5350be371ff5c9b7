//! The complete shards of a cache during writing, and their sums, in bounded memory.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::error::Result;
use crate::format::manifest::Manifest;
use crate::format::plan::{PlanReader, shard_name};
use crate::format::records::{FileRecord, ShardRecord};
use crate::format::settings::HarvestSettings;
use crate::format::shard_record::{SHARD_FILE, SHARDS_FOLDER, WrittenShard, file_names};
use crate::format::totals::Totals;
use crate::write::core::WriterCore;

/// Complete shards. The sums of a shard take tens of kilobytes per site. So they are accumulated as shards arrive in
/// order, and read again from `shard.json` otherwise.
#[derive(Debug)]
pub(crate) struct KnownShards {
    files: BTreeMap<usize, FileHashes>,
    /// Totals over the shards below `summed`.
    totals: Totals,
    summed: usize,
}

/// The parts of a shard's manifest record that do not follow from plan and settings: size and BLAKE3 of each file,
/// `shard.json` first. 40 bytes per file, a tenth of a [`ShardRecord`].
#[derive(Debug)]
struct FileHashes(Box<[(u64, [u8; 32])]>);

impl FileHashes {
    fn of(shard: &WrittenShard) -> Self {
        // Hashes are validated when a record is read.
        let hash = |file: &FileRecord| blake3::Hash::from_hex(&file.blake3).map_or([0; 32], |hash| *hash.as_bytes());
        Self(shard.record.files.iter().map(|file| (file.bytes, hash(file))).collect())
    }

    /// Returns the record of shard `index`, given plan and settings.
    fn record(&self, plan: &PlanReader, settings: &HarvestSettings, index: usize) -> ShardRecord {
        let file = |(path, (bytes, hash)): (String, &(u64, [u8; 32]))| FileRecord {
            path,
            bytes: *bytes,
            blake3: blake3::Hash::from_bytes(*hash).to_string(),
        };
        let names = std::iter::once(SHARD_FILE.to_owned()).chain(file_names(settings));
        ShardRecord {
            index,
            path: format!("{SHARDS_FOLDER}/{}", shard_name(index)),
            counts: plan.plan().shards[index].counts.clone(),
            files: names.zip(&self.0).map(file).collect(),
        }
    }
}

impl KnownShards {
    pub(crate) fn find(cache: &WriterCore) -> Result<Self> {
        let mut known = Self::new(cache);
        // Once there is a gap, shards are not added to the sums, because a missing one may still arrive. They are read
        // again later.
        let mut is_gapless = true;
        for index in 0..cache.plan.plan().shards.len() {
            match WrittenShard::find(&cache.folder, index, &cache.plan, &cache.settings)? {
                Some(shard) if is_gapless => known.add(cache, &shard),
                Some(shard) => drop(known.files.insert(index, FileHashes::of(&shard))),
                None => is_gapless = known.files.is_empty(),
            }
        }
        Ok(known)
    }

    pub(crate) fn new(cache: &WriterCore) -> Self {
        Self { files: BTreeMap::new(), totals: Totals::new(&cache.settings), summed: 0 }
    }

    pub(crate) fn contains(&self, index: usize) -> bool {
        self.files.contains_key(&index)
    }

    pub(crate) fn record(&self, cache: &WriterCore, index: usize) -> Option<ShardRecord> {
        Some(self.files.get(&index)?.record(&cache.plan, &cache.settings, index))
    }

    /// Adds a shard, or replaces one.
    pub(crate) fn add(&mut self, cache: &WriterCore, shard: &WrittenShard) {
        let index = shard.index();
        let follows = index >= self.summed && self.files.range(self.summed..index).next().is_none();
        if follows {
            self.totals.add(shard);
            self.summed = index + 1;
        } else if index < self.summed {
            // The shard precedes others that are already in the sums.
            (self.totals, self.summed) = (Totals::new(&cache.settings), 0);
        }
        self.files.insert(index, FileHashes::of(shard));
    }

    /// Adds a shard that this worker filled beside others, which may come in any order. [`Self::of_worker`] sums them up.
    pub(crate) fn add_own(&mut self, shard: &WrittenShard) {
        self.totals.add(shard);
        self.files.insert(shard.index(), FileHashes::of(shard));
    }

    /// Returns the manifest over the shards that [`Self::add_own`] added. It is a worker's report: its sums are in the order
    /// in which the shards were added.
    pub(crate) fn of_worker(&self, cache: &WriterCore) -> Manifest {
        let records = Records { cache, files: &self.files };
        self.totals.manifest(&cache.plan, &cache.settings, records.iter().collect())
    }

    /// Returns the manifest over these shards. Shards that no longer exist are dropped.
    pub(crate) fn manifest<'a>(&'a mut self, cache: &'a WriterCore) -> Result<Manifest<Records<'a>>> {
        let WriterCore { folder, plan, settings, .. } = cache;
        let mut totals = self.totals.clone();
        let mut is_gapless = true;
        for index in self.files.range(self.summed..).map(|(index, _)| *index).collect::<Vec<_>>() {
            let Some(shard) = WrittenShard::find(folder, index, plan, settings)? else {
                self.files.remove(&index);
                continue;
            };
            totals.add(&shard);
            is_gapless &= self.summed == index || self.summed == 0;
            if is_gapless {
                (self.totals, self.summed) = (totals.clone(), index + 1);
            }
        }
        Ok(totals.manifest(plan, settings, Records { cache, files: &self.files }))
    }
}

/// Shard records, created on demand, so that a manifest can be written without all of them in memory.
pub(crate) struct Records<'a> {
    cache: &'a WriterCore,
    files: &'a BTreeMap<usize, FileHashes>,
}

impl Records<'_> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = ShardRecord> {
        let WriterCore { plan, settings, .. } = self.cache;
        self.files.iter().map(|(index, files)| files.record(plan, settings, *index))
    }
}

impl Serialize for Records<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;
    use crate::format::settings::{Existing, NonFinite};
    use crate::format::totals::manifest_of;
    use crate::support::{fill_shard, lengths, settings, write_plan};
    use crate::write::cache_writer::CacheWriter;
    use hayloft_runtime::Dtype;

    fn whole_manifest(known: &mut KnownShards, cache: &WriterCore) -> Manifest {
        let manifest = known.manifest(cache).unwrap();
        let shards = manifest.shards.iter().collect();
        manifest.listing(shards)
    }

    #[test]
    fn in_whatever_order_shards_come_the_manifest_is_that_of_all_at_once() {
        let folder = tempfile::tempdir().unwrap();
        // Six shards.
        let lengths = [lengths(), lengths()].concat();
        write_plan(folder.path(), &lengths);
        let settings = settings(Dtype::Bf16, Codec::PLANES);
        let writer = CacheWriter::open(folder.path(), settings, NonFinite::Refuse, Existing::Refuse).unwrap();
        let cache = writer.core();
        let whole: Vec<WrittenShard> = (0..6).map(|index| fill_shard(&writer, index).unwrap()).collect();
        for order in [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [3, 4, 0, 5, 1, 2], [2, 3, 4, 5, 0, 1]] {
            let mut known = KnownShards::new(cache);
            let mut expected = BTreeMap::new();
            for index in order {
                known.add(cache, &whole[index]);
                expected.insert(index, whole[index].clone());
                let manifest = manifest_of(&cache.plan, &cache.settings, &expected);
                assert_eq!(whole_manifest(&mut known, cache), manifest, "{order:?} up to {index}");
            }
        }
        for missing in [vec![], vec![0], vec![2], vec![0, 3], vec![4, 5]] {
            for index in &missing {
                std::fs::remove_dir_all(folder.path().join(format!("shards/{index:05}"))).unwrap();
            }
            let mut known = KnownShards::find(cache).unwrap();
            let mut expected: BTreeMap<_, _> = whole.iter().map(|shard| (shard.index(), shard.clone())).collect();
            expected.retain(|index, _| !missing.contains(index));
            let manifest = |expected: &BTreeMap<_, _>| manifest_of(&cache.plan, &cache.settings, expected);
            assert_eq!(whole_manifest(&mut known, cache), manifest(&expected), "without {missing:?}");
            for &index in &missing {
                let shard = fill_shard(&writer, index).unwrap();
                known.add(cache, &shard);
                expected.insert(index, shard);
                assert_eq!(whole_manifest(&mut known, cache), manifest(&expected), "without {missing:?}, with {index}");
            }
        }
    }
}
