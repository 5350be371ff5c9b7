//! The whole shards of a cache that is being filled, and their sums, in memory that does not grow with them.

use std::collections::BTreeMap;

use crate::cache_writer::Shared;
use crate::error::Result;
use crate::manifest::{Manifest, ShardRecord, Totals};
use crate::shard_contents::WrittenShard;

/// Shards that are whole. A shard's sums are tens of kilobytes for each site, so that they are added up as the shards come, where
/// these come in order, and read again from `shard.json` where they do not.
#[derive(Debug)]
pub(crate) struct KnownShards {
    records: BTreeMap<usize, ShardRecord>,
    /// Over the first of the records, all that are below `summed`.
    totals: Totals,
    summed: usize,
}

impl KnownShards {
    /// Those that are in the cache's folder.
    pub(crate) fn find(cache: &Shared) -> Result<Self> {
        let mut known = Self::new(cache);
        // A shard is only added to the sums if those before it will not come later: else it is read again when they are there.
        let mut is_gapless = true;
        for index in 0..cache.plan.plan().shards.len() {
            match WrittenShard::find(&cache.folder, index, &cache.plan, &cache.settings)? {
                Some(shard) if is_gapless => known.add(cache, shard),
                Some(shard) => drop(known.records.insert(index, shard.record)),
                None => is_gapless = known.records.is_empty(),
            }
        }
        Ok(known)
    }

    /// None.
    pub(crate) fn new(cache: &Shared) -> Self {
        Self { records: BTreeMap::new(), totals: Totals::new(&cache.settings), summed: 0 }
    }

    pub(crate) fn get(&self, index: usize) -> Option<&ShardRecord> {
        self.records.get(&index)
    }

    /// Adds a shard, or puts another in its place.
    pub(crate) fn add(&mut self, cache: &Shared, shard: WrittenShard) {
        let index = shard.index();
        let follows = index >= self.summed && self.records.range(self.summed..index).next().is_none();
        if follows {
            self.totals.add(&shard);
            self.summed = index + 1;
        } else if index < self.summed {
            // It belongs before others that are in the sums.
            (self.totals, self.summed) = (Totals::new(&cache.settings), 0);
        }
        self.records.insert(index, shard.record);
    }

    /// The manifest over these shards. One that is not there any more is left out.
    pub(crate) fn manifest(&mut self, cache: &Shared) -> Result<Manifest> {
        let Shared { folder, plan, settings, .. } = cache;
        let mut totals = self.totals.clone();
        let mut is_gapless = true;
        for index in self.records.range(self.summed..).map(|(index, _)| *index).collect::<Vec<_>>() {
            let Some(shard) = WrittenShard::find(folder, index, plan, settings)? else {
                self.records.remove(&index);
                continue;
            };
            totals.add(&shard);
            is_gapless &= self.summed == index || self.summed == 0;
            if is_gapless {
                (self.totals, self.summed) = (totals.clone(), index + 1);
            }
        }
        Ok(totals.manifest(plan, settings, self.records.values().cloned().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Existing, NonFinite};
    use crate::support::{fill_shard, lengths, settings, write_plan};
    use crate::{CacheWriter, Codec, Dtype};

    #[test]
    fn in_whatever_order_shards_come_the_manifest_is_that_of_all_at_once() {
        let folder = tempfile::tempdir().unwrap();
        // Six shards.
        let lengths = [lengths(), lengths()].concat();
        write_plan(folder.path(), &lengths);
        let settings = settings(Dtype::Bf16, Codec::Planes);
        let writer = CacheWriter::open(folder.path(), settings, NonFinite::Refuse, Existing::Refuse).unwrap();
        let cache = writer.shared();
        let whole: Vec<WrittenShard> = (0..6).map(|index| fill_shard(&writer, index).unwrap()).collect();
        for order in [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [3, 4, 0, 5, 1, 2], [2, 3, 4, 5, 0, 1]] {
            let mut known = KnownShards::new(cache);
            let mut expected = BTreeMap::new();
            for index in order {
                known.add(cache, whole[index].clone());
                expected.insert(index, whole[index].clone());
                let manifest = Manifest::new(&cache.plan, &cache.settings, &expected);
                assert_eq!(known.manifest(cache).unwrap(), manifest, "{order:?} up to {index}");
            }
        }
        for missing in [vec![], vec![0], vec![2], vec![0, 3], vec![4, 5]] {
            for index in &missing {
                std::fs::remove_dir_all(folder.path().join(format!("shards/{index:05}"))).unwrap();
            }
            let mut known = KnownShards::find(cache).unwrap();
            let mut expected: BTreeMap<_, _> = whole.iter().map(|shard| (shard.index(), shard.clone())).collect();
            expected.retain(|index, _| !missing.contains(index));
            let manifest = |expected: &BTreeMap<_, _>| Manifest::new(&cache.plan, &cache.settings, expected);
            assert_eq!(known.manifest(cache).unwrap(), manifest(&expected), "without {missing:?}");
            for &index in &missing {
                let shard = fill_shard(&writer, index).unwrap();
                known.add(cache, shard.clone());
                expected.insert(index, shard);
                assert_eq!(known.manifest(cache).unwrap(), manifest(&expected), "without {missing:?}, with {index}");
            }
        }
    }
}
