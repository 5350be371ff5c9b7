//! Pieces of baselines: files that several processes write, each for its own shards. A run over the whole cache merges
//! them into one file.

use std::path::{Path, PathBuf};

use hayloft_runtime::Part;

use super::shard_sums::{Key, ShardSums};
use super::store::{BaselineStore, EXTENSION, StoredSums, read};
use crate::error::EvaluateError;

/// A shard's sums and the index of the piece they come from.
type Held<S> = Option<(S, usize)>;

impl BaselineStore {
    pub(super) fn put_piece<K: Key, S: ShardSums>(
        &self,
        key: &K,
        part: Part,
        shards: &[S],
    ) -> Result<(), EvaluateError> {
        let name = format!("{}{}-of-{}.{EXTENSION}", before_part(key), part.index(), part.of());
        self.write(self.folder.join(name), key, shards)
    }

    /// Combines the pieces of a baseline. Pieces of different splits may coexist; a shard in two of them must have the
    /// same sums in both.
    pub(super) fn of_pieces<K: Key, S: ShardSums>(&self, key: &K) -> Result<StoredSums<S>, EvaluateError> {
        let mut held: Vec<Held<S>> = self.shards.iter().map(|_| None).collect();
        let mut pieces: Vec<PathBuf> = Vec::new();
        for path in self.paths_of_pieces(key) {
            let Some(piece) = read::<K, S>(&path) else { continue };
            let places: Option<Vec<usize>> =
                piece.shards.iter().map(|own| self.shards.binary_search(&own.shard()).ok()).collect();
            let Some(places) = places.filter(|_| self.fits(key, &piece)) else {
                tracing::info!(file = %path.display(), "a piece of a baseline does not fit this cache, so it is not used");
                continue;
            };
            for (place, own) in places.into_iter().zip(piece.shards) {
                match &held[place] {
                    None => held[place] = Some((own, pieces.len())),
                    Some((other, _)) if is_same(other, &own) => {}
                    Some((_, other)) => {
                        let first = pieces.get(*other).unwrap_or(&path).clone();
                        let shard = self.shards[place];
                        return Err(EvaluateError::PiecesDiffer { first, second: path, shard });
                    }
                }
            }
            pieces.push(path);
        }
        Ok(StoredSums { shards: held.into_iter().map(|own| own.map(|(sums, _)| sums)).collect(), pieces })
    }

    /// Removes pieces that have been merged into the file of all shards. A piece that cannot be removed does no harm.
    pub(super) fn remove(pieces: &[PathBuf]) {
        for path in pieces {
            if let Err(error) = std::fs::remove_file(path) {
                tracing::debug!(file = %path.display(), %error, "a piece of a baseline stays");
            }
        }
    }

    /// Files named like pieces of a baseline, sorted by name.
    fn paths_of_pieces(&self, key: &impl Key) -> Vec<PathBuf> {
        let Ok(folder) = std::fs::read_dir(&self.folder) else { return Vec::new() };
        let before = before_part(key);
        let paths = folder.filter_map(|entry| Some(entry.ok()?.path()));
        let mut paths: Vec<PathBuf> = paths.filter(|path| is_piece(path, &before)).collect();
        paths.sort();
        paths
    }
}

/// File name prefix of a baseline's pieces.
fn before_part(key: &impl Key) -> String {
    format!("{}.part-", key.file_stem())
}

fn is_piece(path: &Path, before: &str) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let part = name.and_then(|name| name.strip_prefix(before)?.strip_suffix(EXTENSION)?.strip_suffix('.'));
    part.is_some_and(|part| part.replacen("-of-", "/", 1).parse::<Part>().is_ok())
}

/// Whether two sums have the same bits; NaNs compare equal.
fn is_same<S: ShardSums>(left: &S, right: &S) -> bool {
    let alike = |left: f64, right: f64| left.to_bits() == right.to_bits() || left.is_nan() && right.is_nan();
    let lists = left.lists().into_iter().zip(right.lists());
    left.counts() == right.counts()
        && left.subsets() == right.subsets()
        && lists.into_iter().all(|(left, right)| {
            left.len() == right.len() && left.iter().zip(right.iter()).all(|(left, right)| alike(*left, *right))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::store::tests::{Name, Sum, store};

    fn part(text: &str) -> Part {
        text.parse().unwrap()
    }

    fn sum(shard: usize) -> Sum {
        Sum { shard, sum: 0.1 + shard as f64 / 3.0 }
    }

    /// A store of a cache with shards 0 to 5.
    fn six(folder: &Path) -> BaselineStore {
        BaselineStore { shards: (0..6).collect(), ..store(folder) }
    }

    fn put(store: &BaselineStore, text: &str) {
        let own: Vec<Sum> = part(text).range(6).map(sum).collect();
        store.put_piece(&key(), part(text), &own).unwrap();
    }

    fn key() -> Name {
        Name("a.norm-1e1".to_owned())
    }

    #[test]
    fn pieces_of_all_shards_are_the_whole_however_they_are_cut() {
        let folder = tempfile::tempdir().unwrap();
        let store = six(folder.path());
        put(&store, "1/3");
        put(&store, "0/2");
        let kept = store.get::<_, Sum>(&key()).unwrap();
        let held: Vec<Option<usize>> = kept.shards.iter().map(|own| own.as_ref().map(|own| own.shard)).collect();
        // The first half and the second third share shard 2.
        assert_eq!(held, [Some(0), Some(1), Some(2), Some(3), None, None]);
        put(&store, "2/3");
        let kept = store.get::<_, Sum>(&key()).unwrap();
        assert_eq!(kept.shards, (0..6).map(|shard| Some(sum(shard))).collect::<Vec<_>>());
        assert_eq!(kept.pieces.len(), 3);
        // The file of all shards takes precedence over pieces, which are then removed.
        store.put(&key(), &(0..6).map(sum).collect::<Vec<_>>()).unwrap();
        BaselineStore::remove(&kept.pieces);
        let whole = store.get::<_, Sum>(&key()).unwrap();
        assert_eq!((whole.shards, whole.pieces.len()), (kept.shards, 0));
        assert_eq!(std::fs::read_dir(&store.folder).unwrap().count(), 1);
    }

    #[test]
    fn pieces_that_disagree_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let store = six(folder.path());
        put(&store, "0/2");
        let other: Vec<Sum> = part("1/3").range(6).map(|shard| Sum { shard, sum: 7.0 }).collect();
        store.put_piece(&key(), part("1/3"), &other).unwrap();
        let message = store.get::<_, Sum>(&key()).unwrap_err().to_string();
        assert!(message.contains("part-0-of-2") && message.contains("part-1-of-3"), "{message}");
        assert!(message.contains("shard 2") && message.contains("remove one"), "{message}");
    }

    #[test]
    fn a_piece_of_another_cache_or_key_and_a_damaged_one_are_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let store = six(folder.path());
        put(&store, "0/2");
        let kept =
            |store: &BaselineStore, key: &Name| store.get::<_, Sum>(key).unwrap().shards.into_iter().flatten().count();
        assert_eq!(kept(&store, &key()), 3);
        let other = BaselineStore { manifest_blake3: "bb".to_owned(), ..six(folder.path()) };
        assert_eq!(kept(&other, &key()), 0);
        let fewer = BaselineStore { shards: vec![1, 2, 3], ..six(folder.path()) };
        assert_eq!(kept(&fewer, &key()), 0);
        // One name is a prefix of the other.
        assert_eq!(kept(&store, &Name("a".to_owned())), 0);
        assert_eq!(kept(&store, &Name("a.norm-1e".to_owned())), 0);
        let path = store.folder.join("a.norm-1e1.part-0-of-2.safetensors");
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(kept(&store, &key()), 0);
    }
}
