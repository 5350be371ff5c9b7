//! The digest of each tensor of a checkpoint, kept from one run to the next.
//!
//! A file's digests are valid while its path, size and time of modification stay the same, as in git and rsync.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hayloft_runtime::{sha256_hex, write_whole};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::CheckpointError;
use crate::weights::{Entry, WeightFile, WeightFiles};

/// The subfolder of the user's cache folder.
const FOLDER: &str = "tensor-digests";

const FORMAT: &str = "hayloft tensor digests 1";

/// A file modified more recently may be modified again without a change of the recorded time, which is as coarse as this on
/// some file systems. Its digests are not kept.
const SETTLED: Duration = Duration::from_secs(2);

/// SHA-256 of the tensors of each file, by file and name in the file.
pub(super) struct Digests(Vec<BTreeMap<String, String>>);

/// What is kept of a file.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptDigests {
    format: String,
    path: PathBuf,
    /// Size in bytes.
    bytes: u64,
    /// Time of modification, in nanoseconds since 1970.
    modified: u64,
    /// SHA-256 by name in the file, hexadecimal.
    tensors: BTreeMap<String, String>,
}

/// Path, size and time of modification of a file.
#[derive(Debug, Clone, PartialEq)]
struct FileState {
    path: PathBuf,
    bytes: u64,
    modified: u64,
}

impl Digests {
    /// Takes the digests kept below `cache`, computes the others on all cores, and keeps those of files of `smallest` bytes or
    /// more. `hashed` receives the size of each tensor.
    pub(super) fn of(
        weights: &WeightFiles,
        cache: Option<&Path>,
        smallest: u64,
        hashed: &(dyn Fn(u64) + Sync),
    ) -> Result<Self, CheckpointError> {
        let mut by_file: Vec<Vec<&Entry>> = weights.files().iter().map(|_| Vec::new()).collect();
        for entry in weights.entries().values() {
            by_file[entry.file].push(entry);
        }
        let folder = cache.map(|cache| cache.join(FOLDER));
        let file = |(file, entries): (&WeightFile, Vec<&Entry>)| {
            let state = FileState::of(file).inspect_err(|cause| not_kept(&file.path, cause)).ok();
            let place = folder.as_deref().zip(state).filter(|(_, state)| state.bytes >= smallest);
            let kept = place.as_ref().and_then(|(folder, state)| KeptDigests::read(folder, state));
            let is_whole =
                |kept: &KeptDigests| entries.iter().all(|entry| kept.tensors.contains_key(&entry.stored_name));
            if let Some(kept) = kept.filter(is_whole) {
                hashed(entries.iter().map(|entry| entry.len()).sum());
                return Ok(kept.tensors);
            }
            let begun = SystemTime::now();
            let tensors = hash(weights, &entries, hashed)?;
            if let Some((folder, state)) = place
                && let Err(cause) = keep(folder, file, state, &tensors, begun)
            {
                not_kept(&file.path, &cause);
            }
            Ok(tensors)
        };
        let files: Vec<_> = weights.files().iter().zip(by_file).collect();
        Ok(Self(files.into_par_iter().map(file).collect::<Result<_, CheckpointError>>()?))
    }

    /// The digest of a tensor.
    pub(super) fn get(&self, entry: &Entry) -> &str {
        self.0[entry.file].get(&entry.stored_name).map_or("", String::as_str)
    }
}

/// Hashes the tensors of one file.
fn hash(
    weights: &WeightFiles,
    entries: &[&Entry],
    hashed: &(dyn Fn(u64) + Sync),
) -> Result<BTreeMap<String, String>, CheckpointError> {
    let digest = |entry: &&Entry| {
        let digest = sha256_hex(weights.bytes(entry)?);
        hashed(entry.len());
        Ok((entry.stored_name.clone(), digest))
    };
    entries.par_iter().map(digest).collect()
}

/// Keeps the digests of a file, unless it has changed since `before`, or a change might go unnoticed.
fn keep(
    folder: &Path,
    file: &WeightFile,
    before: FileState,
    tensors: &BTreeMap<String, String>,
    begun: SystemTime,
) -> io::Result<()> {
    let settled = UNIX_EPOCH + Duration::from_nanos(before.modified) + SETTLED;
    if FileState::of(file)? != before || settled > begun {
        return Err(io::Error::other("it changed while it was read, or just before"));
    }
    let FileState { path, bytes, modified } = before;
    let place = place(folder, &path);
    let kept = KeptDigests { format: FORMAT.to_owned(), path, bytes, modified, tensors: tensors.clone() };
    write_whole(&place, &serde_json::to_vec_pretty(&kept)?)
}

impl FileState {
    /// The state of the mapped file, under the path without links.
    fn of(file: &WeightFile) -> io::Result<Self> {
        let metadata = file.map.metadata()?;
        let modified = metadata.modified()?.duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
        let modified = u64::try_from(modified.as_nanos()).map_err(io::Error::other)?;
        Ok(Self { path: std::fs::canonicalize(&file.path)?, bytes: metadata.len(), modified })
    }
}

impl KeptDigests {
    /// The digests of a file in this state. A damaged record counts as none.
    fn read(folder: &Path, state: &FileState) -> Option<Self> {
        let text = std::fs::read(place(folder, &state.path)).ok()?;
        let kept: Self = serde_json::from_slice(&text)
            .inspect_err(|cause| tracing::debug!(path = %place(folder, &state.path).display(), "unreadable: {cause}"))
            .ok()?;
        let Self { format, path, bytes, modified, tensors } = &kept;
        let is_of_file = (format == FORMAT) && (path, *bytes, *modified) == (&state.path, state.bytes, state.modified);
        let is_digest = |text: &String| text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        (is_of_file && tensors.values().all(is_digest)).then_some(kept)
    }
}

/// The record of the file at `path`.
fn place(folder: &Path, path: &Path) -> PathBuf {
    folder.join(format!("{}.json", sha256_hex(path.as_os_str().as_encoded_bytes())))
}

fn not_kept(path: &Path, cause: &io::Error) {
    tracing::debug!(path = %path.display(), "digests of tensors are not kept: {cause}");
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::Checkpoint;

    /// A copy of a small checkpoint whose weights were written a minute ago, and an empty folder for digests.
    fn copy() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let scratch = tempfile::tempdir().unwrap();
        let [model, cache] = ["model", "cache"].map(|name| scratch.path().join(name));
        std::fs::create_dir(&model).unwrap();
        for file in ["config.json", "model.safetensors"] {
            let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/decoder/llama2").join(file);
            std::fs::copy(from, model.join(file)).unwrap();
        }
        age(&model, 60);
        (scratch, model, cache)
    }

    fn age(model: &Path, seconds: u64) {
        let file = File::options().write(true).open(model.join("model.safetensors")).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
    }

    fn digests(model: &Path, cache: &Path) -> Vec<BTreeMap<String, String>> {
        let checkpoint = Checkpoint::open(model).unwrap();
        let seen = std::sync::atomic::AtomicU64::new(0);
        let count = |bytes| {
            seen.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
        };
        let Digests(digests) = Digests::of(checkpoint.weights(), Some(cache), 0, &count).unwrap();
        assert_eq!(seen.into_inner(), checkpoint.tensor_bytes());
        digests
    }

    /// The one record of a cache folder.
    fn record(cache: &Path) -> PathBuf {
        let mut files = std::fs::read_dir(cache.join(FOLDER)).unwrap();
        let record = files.next().unwrap().unwrap().path();
        assert!(files.next().is_none());
        record
    }

    /// Puts another digest in place of each in a record, to see whether it is read.
    fn forge(cache: &Path) {
        let mut kept: KeptDigests = serde_json::from_slice(&std::fs::read(record(cache)).unwrap()).unwrap();
        kept.tensors.values_mut().for_each(|digest| *digest = "0".repeat(64));
        std::fs::write(record(cache), serde_json::to_vec(&kept).unwrap()).unwrap();
    }

    #[test]
    fn digests_are_read_until_the_file_changes() {
        let (_scratch, model, cache) = copy();
        let first = digests(&model, &cache);
        forge(&cache);
        assert!(digests(&model, &cache)[0].values().all(|digest| *digest == "0".repeat(64)));
        // The same bytes at another time: hashed again, and kept again.
        age(&model, 30);
        assert_eq!(digests(&model, &cache), first);
        forge(&cache);
        assert_ne!(digests(&model, &cache), first);
        let path = model.join("model.safetensors");
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let changed = digests(&model, &cache);
        let differing = changed[0].iter().filter(|(name, digest)| first[0][*name] != **digest).count();
        assert_eq!(differing, 1);
        // Just written, so not kept: the record is still the forged one of another time.
        assert!(std::fs::read_to_string(record(&cache)).unwrap().contains(&"0".repeat(64)));
    }

    #[test]
    fn damaged_records_are_replaced_and_a_folder_that_cannot_be_made_is_done_without() {
        let (_scratch, model, cache) = copy();
        let first = digests(&model, &cache);
        let whole = std::fs::read(record(&cache)).unwrap();
        let mut of_one: KeptDigests = serde_json::from_slice(&whole).unwrap();
        of_one.tensors.pop_first();
        let half = whole[..whole.len() / 2].to_vec();
        for damaged in [Vec::new(), half, serde_json::to_vec(&of_one).unwrap(), b"{}".to_vec()] {
            std::fs::write(record(&cache), damaged).unwrap();
            assert_eq!(digests(&model, &cache), first);
            assert_eq!(std::fs::read(record(&cache)).unwrap(), whole);
        }
        let taken = model.join("config.json");
        assert_eq!(digests(&model, &taken), first);
    }

    #[test]
    fn a_file_that_changed_meanwhile_is_not_kept() {
        let (_scratch, model, cache) = copy();
        let checkpoint = Checkpoint::open(&model).unwrap();
        let file = &checkpoint.weights().files()[0];
        let before = FileState::of(file).unwrap();
        age(&model, 30);
        let tensors = BTreeMap::new();
        assert!(keep(&cache, file, before, &tensors, SystemTime::now()).is_err());
        keep(&cache, file, FileState::of(file).unwrap(), &tensors, SystemTime::now()).unwrap();
    }
}
