//! The folder in which baselines are kept.

use std::path::PathBuf;

use hayloft_store::Cache;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::write::write_whole;

const FOLDER: &str = "baselines";

/// The version of the files' layout and of what their numbers mean.
const FORMAT: u32 = 3;

/// More than a baseline of a thousand shards of a model 16,384 wide takes.
const MAX_BYTES: u64 = 1 << 30;

/// Sums over one shard.
pub(super) trait ShardSums: Serialize + DeserializeOwned {
    /// The shard's number in the plan.
    fn shard(&self) -> usize;
}

/// What tells baselines of one kind apart.
pub(super) trait Key: Serialize + DeserializeOwned + PartialEq {
    /// A name of its own, fit for a file.
    fn file_stem(&self) -> String;
}

/// Keeps baselines of one cache.
#[derive(Debug)]
pub(super) struct Shelf {
    folder: PathBuf,
    manifest_blake3: String,
    /// The numbers of the cache's shards, in order.
    shards: Vec<usize>,
}

/// A file, without its hash.
#[derive(Serialize, Deserialize)]
struct Record<K, S> {
    format: u32,
    manifest_blake3: String,
    key: K,
    shards: Vec<S>,
}

/// A file: its hash is that of `baseline` as compact JSON, and it is laid out in one way only.
#[derive(Serialize, Deserialize)]
struct Sealed<R> {
    blake3: String,
    baseline: R,
}

impl Shelf {
    pub(super) fn of(cache: &Cache) -> Self {
        Self {
            folder: cache.folder().join(FOLDER),
            manifest_blake3: cache.manifest_blake3().to_owned(),
            shards: cache.manifest().shards.iter().map(|shard| shard.index).collect(),
        }
    }

    /// The sums kept under a key, one for each shard in order; `None` where there are none that fit.
    pub(super) fn get<K: Key, S: ShardSums>(&self, key: &K) -> Option<Vec<S>> {
        let path = self.path(key);
        let size = std::fs::metadata(&path).ok()?.len();
        let read = if size <= MAX_BYTES { std::fs::read(&path).ok() } else { None };
        let Some(baseline) = read.and_then(|bytes| unseal::<K, S>(&bytes)) else {
            tracing::warn!(file = %path.display(), "a kept baseline is damaged or of another version, so it is computed again");
            return None;
        };
        let found = self.fitting(key, baseline);
        if found.is_none() {
            tracing::info!(file = %path.display(), "a kept baseline does not fit this cache, so it is computed again");
        }
        found
    }

    /// Keeps sums. A cache that cannot be written to is no reason to stop.
    pub(super) fn put<K: Key + Clone, S: ShardSums + Clone>(&self, key: &K, shards: &[S]) {
        let path = self.path(key);
        let baseline = Record {
            format: FORMAT,
            manifest_blake3: self.manifest_blake3.clone(),
            key: key.clone(),
            shards: shards.to_vec(),
        };
        let kept = seal(&baseline).map_err(std::io::Error::other).and_then(|bytes| write_whole(&path, &bytes));
        if let Err(error) = kept {
            tracing::warn!(file = %path.display(), %error, "a baseline is not kept: the next run computes it again");
        }
    }

    fn path(&self, key: &impl Key) -> PathBuf {
        self.folder.join(format!("{}.json", key.file_stem()))
    }

    fn fitting<K: Key, S: ShardSums>(&self, key: &K, baseline: Record<K, S>) -> Option<Vec<S>> {
        let same_cache = baseline.format == FORMAT && baseline.manifest_blake3 == self.manifest_blake3;
        let same_shards = baseline.shards.iter().map(S::shard).eq(self.shards.iter().copied());
        (same_cache && same_shards && baseline.key == *key).then_some(baseline.shards)
    }
}

/// The record in a file's bytes; `None` where they are not, to the last one, those that [`seal`] makes of it.
fn unseal<K: Key, S: ShardSums>(bytes: &[u8]) -> Option<Record<K, S>> {
    let Sealed { baseline, .. }: Sealed<Record<K, S>> = serde_json::from_slice(bytes).ok()?;
    (seal(&baseline).ok()? == bytes).then_some(baseline)
}

fn seal<K: Key, S: ShardSums>(baseline: &Record<K, S>) -> serde_json::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(&Sealed { blake3: hash(baseline)?, baseline })?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn hash<K: Key, S: ShardSums>(baseline: &Record<K, S>) -> serde_json::Result<String> {
    Ok(blake3::hash(&serde_json::to_vec(baseline)?).to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Name(String);

    impl Key for Name {
        fn file_stem(&self) -> String {
            self.0.clone()
        }
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Sum {
        shard: usize,
        #[serde(with = "crate::undefined")]
        sum: f64,
    }

    impl ShardSums for Sum {
        fn shard(&self) -> usize {
            self.shard
        }
    }

    fn shelf(folder: &std::path::Path) -> Shelf {
        Shelf { folder: folder.join(FOLDER), manifest_blake3: "aa".to_owned(), shards: vec![0, 2] }
    }

    fn sums() -> Vec<Sum> {
        vec![Sum { shard: 0, sum: 0.1 + 0.2 }, Sum { shard: 2, sum: -1e-300 }]
    }

    #[test]
    fn what_is_kept_comes_back_to_the_bit() {
        let folder = tempfile::tempdir().unwrap();
        let (shelf, key) = (shelf(folder.path()), Name("a".to_owned()));
        assert_eq!(shelf.get::<_, Sum>(&key), None);
        shelf.put(&key, &sums());
        assert_eq!(shelf.get::<_, Sum>(&key), Some(sums()));
    }

    #[test]
    fn what_is_undefined_can_be_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (mut shelf, key) = (shelf(folder.path()), Name("a".to_owned()));
        shelf.shards = vec![0];
        shelf.put(&key, &[Sum { shard: 0, sum: f64::NAN }]);
        assert!(shelf.get::<_, Sum>(&key).unwrap()[0].sum.is_nan());
    }

    #[test]
    fn another_manifest_other_shards_or_another_key_do_not_fit() {
        let folder = tempfile::tempdir().unwrap();
        let key = Name("a".to_owned());
        shelf(folder.path()).put(&key, &sums());
        let mut other = shelf(folder.path());
        other.manifest_blake3 = "bb".to_owned();
        assert_eq!(other.get::<_, Sum>(&key), None);
        let mut grown = shelf(folder.path());
        grown.shards.push(3);
        assert_eq!(grown.get::<_, Sum>(&key), None);
        let files = folder.path().join(FOLDER);
        std::fs::rename(files.join("a.json"), files.join("b.json")).unwrap();
        assert_eq!(shelf(folder.path()).get::<_, Sum>(&Name("b".to_owned())), None);
    }

    #[test]
    fn a_changed_digit_does_not_become_a_figure() {
        let folder = tempfile::tempdir().unwrap();
        let (shelf, key) = (shelf(folder.path()), Name("a".to_owned()));
        shelf.put(&key, &sums());
        let path = folder.path().join(FOLDER).join("a.json");
        let text = std::fs::read_to_string(&path).unwrap();
        for changed in
            [text.replace("0.30000000000000004", "0.40000000000000004"), text[..40].to_owned(), String::new()]
        {
            assert_ne!(changed, text);
            std::fs::write(&path, changed).unwrap();
            assert_eq!(shelf.get::<_, Sum>(&key), None);
        }
    }

    #[test]
    fn no_flipped_bit_goes_unseen() {
        let folder = tempfile::tempdir().unwrap();
        let (shelf, key) = (shelf(folder.path()), Name("a".to_owned()));
        shelf.put(&key, &sums());
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
    fn a_place_that_cannot_be_written_to_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FOLDER), "in the way").unwrap();
        shelf(folder.path()).put(&Name("a".to_owned()), &sums());
    }
}
