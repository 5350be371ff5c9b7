//! The folder in which baselines are kept.

use std::path::{Path, PathBuf};

use hayloft_store::Cache;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::seal::{FORMAT, Record, seal, unseal};
use crate::EvaluateError;
use crate::write::write_whole;

/// Where baselines of a cache are kept unless the user says otherwise.
pub(crate) const FOLDER: &str = "baselines";

/// More than a baseline of a thousand shards of a model 16,384 wide takes.
const MAX_BYTES: u64 = 1 << 30;

/// Sums over one shard.
pub(super) trait ShardSums: Serialize + DeserializeOwned + Clone {
    /// The shard's number in the plan.
    fn shard(&self) -> usize;
}

/// What tells baselines of one kind apart.
pub(super) trait Key: Serialize + DeserializeOwned + PartialEq + Clone {
    /// A name of its own, fit for a file.
    fn file_stem(&self) -> String;
}

/// Keeps baselines of one cache.
#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) folder: PathBuf,
    pub(super) manifest_blake3: String,
    /// The numbers of the cache's shards, in order.
    pub(super) shards: Vec<usize>,
}

/// What is kept of one baseline.
#[derive(Debug)]
pub(super) struct Kept<S> {
    /// One for each of the cache's shards, in order, as far as they are kept.
    pub(super) shards: Vec<Option<S>>,
    /// The files of parts that they are from; none where there is one of all shards.
    pub(super) pieces: Vec<PathBuf>,
}

impl Shelf {
    pub(super) fn of(cache: &Cache, folder: PathBuf) -> Self {
        Self {
            folder,
            manifest_blake3: cache.manifest_blake3().to_owned(),
            shards: cache.manifest().shards.iter().map(|shard| shard.index).collect(),
        }
    }

    /// The sums kept under a key: those of the one file of all shards, or else what the files of parts have.
    pub(super) fn get<K: Key, S: ShardSums>(&self, key: &K) -> Result<Kept<S>, EvaluateError> {
        match self.whole(key) {
            Some(shards) => Ok(Kept { shards: shards.into_iter().map(Some).collect(), pieces: Vec::new() }),
            None => self.of_pieces(key),
        }
    }

    /// Keeps the sums of all shards.
    pub(super) fn put<K: Key, S: ShardSums>(&self, key: &K, shards: &[S]) -> Result<(), EvaluateError> {
        self.write(self.path(key), key, shards)
    }

    /// Writes sums of some shards.
    pub(super) fn write<K: Key, S: ShardSums>(
        &self,
        path: PathBuf,
        key: &K,
        shards: &[S],
    ) -> Result<(), EvaluateError> {
        let baseline = Record {
            format: FORMAT,
            manifest_blake3: self.manifest_blake3.clone(),
            key: key.clone(),
            shards: shards.to_vec(),
        };
        let written = seal(&baseline).map_err(std::io::Error::other).and_then(|bytes| write_whole(&path, &bytes));
        written.map_err(|cause| EvaluateError::KeepBaseline { path, cause })
    }

    fn path(&self, key: &impl Key) -> PathBuf {
        self.folder.join(format!("{}.json", key.file_stem()))
    }

    /// The sums in the file of all shards, if it is there and fits.
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

    /// Whether a file is of this cache and key.
    pub(super) fn fits<K: Key, S: ShardSums>(&self, key: &K, baseline: &Record<K, S>) -> bool {
        baseline.format == FORMAT && baseline.manifest_blake3 == self.manifest_blake3 && baseline.key == *key
    }
}

/// What a file holds; `None` where there is none, or one that cannot be trusted.
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

    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(in crate::baseline) struct Name(pub(in crate::baseline) String);

    impl Key for Name {
        fn file_stem(&self) -> String {
            self.0.clone()
        }
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(in crate::baseline) struct Sum {
        pub(in crate::baseline) shard: usize,
        #[serde(with = "crate::undefined")]
        pub(in crate::baseline) sum: f64,
    }

    impl ShardSums for Sum {
        fn shard(&self) -> usize {
            self.shard
        }
    }

    pub(in crate::baseline) fn shelf(folder: &Path) -> Shelf {
        Shelf { folder: folder.join(FOLDER), manifest_blake3: "aa".to_owned(), shards: vec![0, 2] }
    }

    fn sums() -> Vec<Sum> {
        vec![Sum { shard: 0, sum: 0.1 + 0.2 }, Sum { shard: 2, sum: -1e-300 }]
    }

    #[test]
    fn what_is_kept_comes_back_to_the_bit() {
        let folder = tempfile::tempdir().unwrap();
        let (shelf, key) = (shelf(folder.path()), Name("a".to_owned()));
        assert_eq!(shelf.whole::<_, Sum>(&key), None);
        shelf.put(&key, &sums()).unwrap();
        assert_eq!(shelf.whole::<_, Sum>(&key), Some(sums()));
    }

    #[test]
    fn what_is_undefined_can_be_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (mut shelf, key) = (shelf(folder.path()), Name("a".to_owned()));
        shelf.shards = vec![0];
        shelf.put(&key, &[Sum { shard: 0, sum: f64::NAN }]).unwrap();
        assert!(shelf.whole::<_, Sum>(&key).unwrap()[0].sum.is_nan());
    }

    #[test]
    fn another_manifest_other_shards_or_another_key_do_not_fit() {
        let folder = tempfile::tempdir().unwrap();
        let key = Name("a".to_owned());
        shelf(folder.path()).put(&key, &sums()).unwrap();
        let mut other = shelf(folder.path());
        other.manifest_blake3 = "bb".to_owned();
        assert_eq!(other.whole::<_, Sum>(&key), None);
        let mut grown = shelf(folder.path());
        grown.shards.push(3);
        assert_eq!(grown.whole::<_, Sum>(&key), None);
        let files = folder.path().join(FOLDER);
        std::fs::rename(files.join("a.json"), files.join("b.json")).unwrap();
        assert_eq!(shelf(folder.path()).whole::<_, Sum>(&Name("b".to_owned())), None);
    }

    #[test]
    fn a_changed_digit_does_not_become_a_figure() {
        let folder = tempfile::tempdir().unwrap();
        let (shelf, key) = (shelf(folder.path()), Name("a".to_owned()));
        shelf.put(&key, &sums()).unwrap();
        let path = folder.path().join(FOLDER).join("a.json");
        let text = std::fs::read_to_string(&path).unwrap();
        for changed in
            [text.replace("0.30000000000000004", "0.40000000000000004"), text[..40].to_owned(), String::new()]
        {
            assert_ne!(changed, text);
            std::fs::write(&path, changed).unwrap();
            assert_eq!(shelf.whole::<_, Sum>(&key), None);
        }
    }

    #[test]
    fn no_flipped_bit_goes_unseen() {
        let folder = tempfile::tempdir().unwrap();
        let (shelf, key) = (shelf(folder.path()), Name("a".to_owned()));
        shelf.put(&key, &sums()).unwrap();
        let whole = std::fs::read(folder.path().join(FOLDER).join("a.json")).unwrap();
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
        let message = shelf(folder.path()).put(&Name("a".to_owned()), &sums()).unwrap_err().to_string();
        assert!(message.contains("a.json") && message.contains("--baselines"), "{message}");
    }
}
