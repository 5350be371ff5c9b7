//! The folder of a cache's baselines.

use std::path::{Path, PathBuf};

use hayloft_runtime::write_whole;
use hayloft_store::Cache;

use super::seal::{About, FORMAT, Record, seal, unseal};
use super::shard_sums::{Key, ShardSums};
use crate::error::EvaluateError;

/// Default folder of baselines, inside the cache's.
pub(crate) const FOLDER: &str = "baselines";

/// Upper bound on the size of a baseline file: more than 100,000 shards of a model of width 16,384 take.
const MAX_BYTES: u64 = 1 << 34;

pub(super) const EXTENSION: &str = "safetensors";

/// The stored baselines of one cache.
#[derive(Debug)]
pub(super) struct BaselineStore {
    pub(super) folder: PathBuf,
    pub(super) manifest_blake3: String,
    /// The numbers of the cache's shards, in order.
    pub(super) shards: Vec<usize>,
}

/// The stored sums of one baseline.
#[derive(Debug)]
pub(super) struct StoredSums<S> {
    /// One entry for each of the cache's shards, in order; `None` if not stored.
    pub(super) shards: Vec<Option<S>>,
    /// The pieces that the sums come from; empty if they come from the file of all shards.
    pub(super) pieces: Vec<PathBuf>,
}

impl BaselineStore {
    pub(super) fn of(cache: &Cache, folder: PathBuf) -> Self {
        Self {
            folder,
            manifest_blake3: cache.manifest_blake3().to_owned(),
            shards: cache.manifest().shards.iter().map(|shard| shard.index).collect(),
        }
    }

    /// Reads the sums under a key, from the file of all shards or else from pieces.
    pub(super) fn get<K: Key, S: ShardSums>(&self, key: &K) -> Result<StoredSums<S>, EvaluateError> {
        match self.whole(key) {
            Some(shards) => Ok(StoredSums { shards: shards.into_iter().map(Some).collect(), pieces: Vec::new() }),
            None => self.of_pieces(key),
        }
    }

    pub(super) fn put<K: Key, S: ShardSums>(&self, key: &K, shards: &[S]) -> Result<(), EvaluateError> {
        self.write(self.path(key), key, shards)
    }

    pub(super) fn write<K: Key, S: ShardSums>(
        &self,
        path: PathBuf,
        key: &K,
        shards: &[S],
    ) -> Result<(), EvaluateError> {
        let about = About { format: FORMAT, manifest_blake3: self.manifest_blake3.clone(), key: key.clone() };
        let written = seal(&Record { about, shards: shards.to_vec() }).and_then(|bytes| write_whole(&path, &bytes));
        written.map_err(|cause| EvaluateError::KeepBaseline { path, cause })
    }

    fn path(&self, key: &impl Key) -> PathBuf {
        self.folder.join(format!("{}.{EXTENSION}", key.file_stem()))
    }

    /// The sums in the file of all shards, if it exists and matches.
    fn whole<K: Key, S: ShardSums>(&self, key: &K) -> Option<Vec<S>> {
        let path = self.path(key);
        let baseline = read::<K, S>(&path)?;
        let same_shards = baseline.shards.iter().map(S::shard).eq(self.shards.iter().copied());
        if same_shards && self.fits(key, &baseline) {
            return Some(baseline.shards);
        }
        tracing::info!(file = %path.display(), "a kept baseline does not fit this cache, so it is computed again");
        None
    }

    /// Whether a file belongs to this cache and key.
    pub(super) fn fits<K: Key, S: ShardSums>(&self, key: &K, baseline: &Record<K, S>) -> bool {
        let about = &baseline.about;
        about.format == FORMAT && about.manifest_blake3 == self.manifest_blake3 && about.key == *key
    }
}

/// Reads a file; `None` if it is missing or invalid.
pub(super) fn read<K: Key, S: ShardSums>(path: &Path) -> Option<Record<K, S>> {
    let size = std::fs::metadata(path).ok()?.len();
    let read = if size <= MAX_BYTES { std::fs::read(path).ok() } else { None };
    let baseline = read.and_then(|bytes| unseal::<K, S>(&bytes));
    if baseline.is_none() {
        tracing::warn!(file = %path.display(), "a kept baseline is damaged or of another version, so it is computed again");
    }
    baseline
}

#[cfg(test)]
pub(super) mod tests {
    use serde::{Deserialize, Serialize};
    use std::borrow::Cow;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(in crate::baseline) struct Name(pub(in crate::baseline) String);

    impl Key for Name {
        fn file_stem(&self) -> String {
            self.0.clone()
        }
    }

    #[derive(Debug, Clone, PartialEq)]
    pub(in crate::baseline) struct Sum {
        pub(in crate::baseline) shard: usize,
        pub(in crate::baseline) sum: f64,
    }

    impl ShardSums for Sum {
        const COUNTS: &'static [&'static str] = &["shard"];
        const LISTS: &'static [&'static str] = &["sum"];

        fn counts(&self) -> Vec<u64> {
            vec![self.shard as u64]
        }

        fn lists(&self) -> Vec<Cow<'_, [f64]>> {
            vec![std::slice::from_ref(&self.sum).into()]
        }

        fn of(counts: &[u64], lists: Vec<Vec<f64>>, _: &[Option<String>]) -> Option<Self> {
            Some(Self { shard: counts[0] as usize, sum: *lists[0].first()? })
        }
    }

    pub(in crate::baseline) fn store(folder: &Path) -> BaselineStore {
        BaselineStore { folder: folder.join(FOLDER), manifest_blake3: "aa".to_owned(), shards: vec![0, 2] }
    }

    fn sums() -> Vec<Sum> {
        vec![Sum { shard: 0, sum: 0.1 + 0.2 }, Sum { shard: 2, sum: -1e-300 }]
    }

    #[test]
    fn what_is_kept_comes_back_to_the_bit() {
        let folder = tempfile::tempdir().unwrap();
        let (store, key) = (store(folder.path()), Name("a".to_owned()));
        assert_eq!(store.whole::<_, Sum>(&key), None);
        store.put(&key, &sums()).unwrap();
        assert_eq!(store.whole::<_, Sum>(&key), Some(sums()));
    }

    #[test]
    fn what_is_undefined_can_be_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, key) = (store(folder.path()), Name("a".to_owned()));
        store.shards = vec![0];
        store.put(&key, &[Sum { shard: 0, sum: f64::NAN }]).unwrap();
        assert!(store.whole::<_, Sum>(&key).unwrap()[0].sum.is_nan());
    }

    #[test]
    fn another_manifest_other_shards_or_another_key_do_not_fit() {
        let folder = tempfile::tempdir().unwrap();
        let key = Name("a".to_owned());
        store(folder.path()).put(&key, &sums()).unwrap();
        let mut other = store(folder.path());
        other.manifest_blake3 = "bb".to_owned();
        assert_eq!(other.whole::<_, Sum>(&key), None);
        let mut grown = store(folder.path());
        grown.shards.push(3);
        assert_eq!(grown.whole::<_, Sum>(&key), None);
        let files = folder.path().join(FOLDER);
        std::fs::rename(files.join("a.safetensors"), files.join("b.safetensors")).unwrap();
        assert_eq!(store(folder.path()).whole::<_, Sum>(&Name("b".to_owned())), None);
    }

    #[test]
    fn a_file_that_ends_early_or_has_more_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let (store, key) = (store(folder.path()), Name("a".to_owned()));
        store.put(&key, &sums()).unwrap();
        let path = folder.path().join(FOLDER).join("a.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        for changed in [&bytes[..40], &bytes[..bytes.len() - 1], &[], &[bytes.as_slice(), b"0"].concat()] {
            std::fs::write(&path, changed).unwrap();
            assert_eq!(store.whole::<_, Sum>(&key), None);
        }
    }

    #[test]
    fn ten_thousand_shards_of_a_wide_model_take_what_their_numbers_take() {
        use crate::baseline::Moments;
        let (folder, key, shards) = (tempfile::tempdir().unwrap(), Name("a".to_owned()), 500);
        let store = BaselineStore { shards: (0..shards).collect(), ..store(folder.path()) };
        let number = |place: usize| (place as f64).sin() * 1e3 / 3.0;
        let sum = || vec![(0..4096).map(number).collect()];
        let own = |shard| Moments::of(&[shard as u64, 57_000, 3, 1, 0], sum(), &[]).unwrap();
        store.put(&key, &(0..shards).map(own).collect::<Vec<_>>()).unwrap();
        let bytes = std::fs::metadata(store.path(&key)).unwrap().len();
        let read = store.whole::<_, Moments>(&key).unwrap();
        assert_eq!(read.len(), shards);
        assert!(read.iter().enumerate().all(|(shard, read)| *read == own(shard)));
        // Eight bytes per number, plus a small overhead.
        assert!(bytes / shards as u64 <= 8 * 4096 + 64, "{bytes}");
    }

    #[test]
    fn no_flipped_bit_goes_unseen() {
        let folder = tempfile::tempdir().unwrap();
        let (store, key) = (store(folder.path()), Name("a".to_owned()));
        store.put(&key, &sums()).unwrap();
        let whole = std::fs::read(folder.path().join(FOLDER).join("a.safetensors")).unwrap();
        assert!(unseal::<Name, Sum>(&whole).is_some());
        for position in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[position] ^= 1 << bit;
                assert!(unseal::<Name, Sum>(&flipped).is_none(), "bit {bit} at {position}");
            }
        }
    }

    #[test]
    fn a_place_that_cannot_be_written_to_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FOLDER), "in the way").unwrap();
        let message = store(folder.path()).put(&Name("a".to_owned()), &sums()).unwrap_err().to_string();
        assert!(message.contains("a.safetensors") && message.contains("--baselines"), "{message}");
    }
}
