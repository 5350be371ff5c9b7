//! Merges caches with the same plan, such as those of machines that shared its shards.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::error::{Result, StoreError};
use crate::format::settings::{Existing, NonFinite};
use crate::fs::disk::Disk;
use crate::fs::machine::machine;
use crate::maintain::destination::{check_apart, place_plan};
use crate::maintain::holding::{Holding, at_home, home};
use crate::maintain::placing::{Files, Placed, Placing, bytes_of, restage};
use crate::read::verify::Progress;
use crate::write::cache_writer::CacheWriter;

/// The result of [`merge`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Merged {
    /// Shards in the new cache.
    pub shards: usize,
    /// Shards in its plan.
    pub planned_shards: usize,
    /// Tokens in the new cache.
    pub tokens: u64,
    /// The shards taken from each input, in input order.
    pub taken: Vec<Taken>,
    /// How the files were placed.
    pub placed: Placed,
}

/// The shards that [`merge`] took from an input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// The input's folder.
    pub cache: PathBuf,
    /// The shards taken, without those that an earlier input also has.
    pub shards: Vec<usize>,
}

/// Merges the shards of `inputs`, caches with the same plan and settings, into a new cache `out`. The result is byte
/// for byte that of one harvest. Checks the hash of every file.
///
/// Inputs may lack shards, and so may the result; `harvest run --resume` fills them. A killed merge resumes with
/// [`Existing::Resume`] and keeps the shards already merged.
///
/// # Errors
/// [`StoreError::Unlike`] if the inputs' model, tokenizer, plan, sites, type, codec or predictions differ, or if a
/// shard differs between two inputs; nothing has been written then. [`StoreError::Damaged`] for a damaged input file;
/// [`StoreError::Exists`] if `out` has a plan or shards and `existing` does not allow them; [`StoreError::Locked`] if
/// another process is writing to it; [`StoreError::Invalid`] if it is inside or around an input.
pub fn merge(
    inputs: &[PathBuf],
    out: &Path,
    files: Files,
    existing: Existing,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Merged> {
    merge_on(&machine(), inputs, out, files, existing, progress)
}

pub(super) fn merge_on(
    disk: &Arc<dyn Disk>,
    inputs: &[PathBuf],
    out: &Path,
    files: Files,
    existing: Existing,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Merged> {
    check_apart(out, inputs)?;
    let holdings = inputs.iter().map(|input| Holding::open(input)).collect::<Result<Vec<_>>>()?;
    let Some(first) = holdings.first() else {
        return Err(StoreError::invalid("caches to merge", "at least one", "none"));
    };
    check_together(&holdings)?;
    let total_bytes = holdings.iter().map(|holding| bytes_of(holding.shards.values())).sum();
    let mut placing = Placing::new(disk, files, total_bytes, progress);
    place_plan(&mut placing, first, out, existing)?;
    let mut writer = CacheWriter::open_on(Arc::clone(disk), out, first.settings.clone(), NonFinite::Allow, existing)?;
    let mut taken = Vec::new();
    let mut done = BTreeSet::new();
    for holding in &holdings {
        let mut shards = Vec::new();
        for (index, shard) in &holding.shards {
            if !done.insert(*index) {
                placing.advance(bytes_of([shard]), holding.folder());
                continue;
            }
            shards.push(*index);
            if let Some(there) = writer.whole(*index) {
                if there.files != shard.record.files {
                    let path = out.join(&there.path);
                    return Err(holding.unlike_in(&path, format!("shard {index}"), "the same files", "others"));
                }
                placing.advance(bytes_of([shard]), holding.folder());
                continue;
            }
            let staged = restage(disk, out.join(home(*index)))?;
            placing.place_shard(holding, shard, &staged)?;
            staged.commit()?;
            writer.record(at_home(shard))?;
        }
        taken.push(Taken { cache: holding.folder().to_owned(), shards });
    }
    let manifest = writer.finish()?;
    Ok(Merged {
        shards: manifest.shards.len(),
        planned_shards: manifest.planned_shards,
        tokens: manifest.held.tokens,
        taken,
        placed: placing.placed,
    })
}

/// Checks that all caches match the first, and that shards present in several are the same.
fn check_together(holdings: &[Holding]) -> Result<()> {
    for (place, holding) in holdings.iter().enumerate() {
        let first = &holdings[0];
        first.check_alike(holding, &first.settings)?;
        for earlier in &holdings[..place] {
            for index in holding.shards.keys() {
                earlier.check_same_shard(holding, *index)?;
            }
        }
    }
    Ok(())
}
