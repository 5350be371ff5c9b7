//! Comparison of two caches.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::Result;
use crate::format::difference::Difference;
use crate::format::records::FileRecord;
use crate::format::shard_record::WrittenShard;
use crate::maintain::differences;
use crate::maintain::holding::Holding;
use crate::maintain::placing::bytes_of;
use crate::maintain::values::{self, ValueDiff};
use crate::read::verify::Progress;

/// The result of [`diff`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CacheDiff {
    /// The first cache's folder.
    pub a: PathBuf,
    /// The second cache's folder.
    pub b: PathBuf,
    /// Fields of the plan that differ. The last is its hash, so an empty list means the same tokens.
    pub plan: Vec<SettingDiff>,
    /// Settings that differ.
    pub settings: Vec<SettingDiff>,
    /// Shards that only the first has.
    pub only_a: Vec<usize>,
    /// Shards that only the second has.
    pub only_b: Vec<usize>,
    /// Files that differ by their recorded hashes, or that only one cache has, in the shards that both have.
    pub files: Vec<FileDiff>,
    /// The values that differ in those files; empty unless requested.
    pub values: Vec<ValueDiff>,
}

/// A field whose values differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SettingDiff {
    /// The field.
    pub field: String,
    /// Its value in the first cache.
    pub a: String,
    /// Its value in the second cache.
    pub b: String,
}

/// A file that differs, as recorded by each cache's shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileDiff {
    /// The shard.
    pub shard: usize,
    /// The file's name in the shard's folder.
    pub file: String,
    /// The first cache's record; null if it has no such file.
    pub a: Option<FileRecord>,
    /// The second cache's record.
    pub b: Option<FileRecord>,
}

impl CacheDiff {
    /// Whether the caches have the same plan, settings and shards, file by file.
    pub fn is_empty(&self) -> bool {
        let Self { plan, settings, only_a, only_b, files, .. } = self;
        plan.is_empty() && settings.is_empty() && only_a.is_empty() && only_b.is_empty() && files.is_empty()
    }
}

/// Compares two caches by their records: settings, plan, shards, and the hash of every file. With `compare_values`,
/// also compares the activations and losses in files that differ, for shards with the same sequences.
///
/// Does not look for damage: a file that does not match its record is noticed only if its values are read. See
/// [`verify`](crate::verify()).
pub fn diff(a: &Path, b: &Path, compare_values: bool, progress: &mut dyn FnMut(Progress<'_>)) -> Result<CacheDiff> {
    let (ours, theirs) = (Holding::open(a)?, Holding::open(b)?);
    let named = |(field, a, b): Difference| SettingDiff { field, a, b };
    let mut found = CacheDiff {
        a: a.to_owned(),
        b: b.to_owned(),
        plan: differences::of_plans(&ours.plan, &theirs.plan).into_iter().map(named).collect(),
        settings: ours.settings.differences(&theirs.settings).into_iter().map(named).collect(),
        only_a: only(&ours, &theirs),
        only_b: only(&theirs, &ours),
        ..CacheDiff::default()
    };
    let common: Vec<(&WrittenShard, &WrittenShard)> =
        ours.shards.iter().filter_map(|(index, shard)| Some((shard, theirs.shards.get(index)?))).collect();
    let total_bytes = bytes_of(common.iter().map(|(shard, _)| *shard));
    let mut bytes = 0;
    for (shard, their_shard) in common {
        let files = differing_files(shard, their_shard);
        if compare_values && !files.is_empty() {
            progress(Progress { bytes, total_bytes, file: &shard.record.path });
            let differs =
                |name: &str| files.iter().any(|file| file.file == name && file.a.is_some() && file.b.is_some());
            found.values.extend(values::compare(&ours, &theirs, shard, their_shard, differs)?);
        }
        bytes += bytes_of([shard]);
        found.files.extend(files);
    }
    Ok(found)
}

/// The shards that only `ours` has.
fn only(ours: &Holding, theirs: &Holding) -> Vec<usize> {
    ours.shards.keys().filter(|index| !theirs.shards.contains_key(index)).copied().collect()
}

/// The files of a shard that differ. `shard.json` lists the others, so it is included only if it alone differs.
fn differing_files(a: &WrittenShard, b: &WrittenShard) -> Vec<FileDiff> {
    let names: BTreeSet<&String> = a.record.files.iter().chain(&b.record.files).map(|file| &file.path).collect();
    let of = |shard: &WrittenShard, name: &str| shard.record.files.iter().find(|file| file.path == name).cloned();
    let differing: Vec<FileDiff> = names
        .into_iter()
        .map(|name| FileDiff { shard: a.index(), file: name.clone(), a: of(a, name), b: of(b, name) })
        .filter(|file| file.a != file.b)
        .collect();
    let own = crate::format::shard_record::SHARD_FILE;
    if differing.iter().any(|file| file.file != own) {
        return differing.into_iter().filter(|file| file.file != own).collect();
    }
    differing
}
