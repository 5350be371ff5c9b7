//! The folder of a new cache.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Result, StoreError};
use crate::format::manifest::MANIFEST_FILE;
use crate::format::plan::{PLAN_FILE, PLAN_FOLDER, PlanReader, SEQUENCES_FILE, TOKENS_FILE, shard_name};
use crate::format::settings::Existing;
use crate::fs::folder::Folder;
use crate::fs::hash::blake3_hex;
use crate::fs::json;
use crate::fs::lock::Lock;
use crate::fs::staged::{create_folders, remove_entry, remove_leftovers, replace_file};
use crate::maintain::holding::Holding;
use crate::maintain::placing::{Placing, restage};

/// Checks that `out` is none of `inputs`, nor inside or around one.
pub(super) fn check_apart(out: &Path, inputs: &[PathBuf]) -> Result<()> {
    let real_out = resolve(out)?;
    for input in inputs {
        let real = resolve(input)?;
        if real_out.starts_with(&real) || real.starts_with(&real_out) {
            let expected = format!("a folder apart from {}", input.display());
            return Err(StoreError::invalid("the new cache's folder", expected, out.display()));
        }
    }
    Ok(())
}

/// Resolves links and dots in a path that need not exist.
fn resolve(path: &Path) -> Result<PathBuf> {
    let failed = |source: io::Error| StoreError::io(path, "find", source);
    let absolute = std::path::absolute(path).map_err(failed)?;
    for there in absolute.ancestors() {
        match there.canonicalize() {
            Ok(real) => {
                let rest = absolute.strip_prefix(there).unwrap_or(Path::new(""));
                return Ok(real.join(rest));
            }
            Err(source) if source.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(failed(source)),
        }
    }
    Ok(absolute)
}

/// Copies the plan of `from` into the folder `out`, which is created if necessary; `plan.json` comes last.
///
/// # Errors
/// [`StoreError::Exists`] if there is a plan or a cache and `existing` does not allow it; [`StoreError::Mismatch`] if
/// the plan is another one.
pub(super) fn place_plan(placing: &mut Placing<'_>, from: &Holding, out: &Path, existing: Existing) -> Result<()> {
    let disk = Arc::clone(&placing.disk);
    let disk = disk.as_ref();
    create_folders(disk, out)?;
    let _lock = Lock::take(out)?;
    let path = out.join(PLAN_FILE);
    if path.exists() {
        if existing == Existing::Refuse {
            return Err(StoreError::Exists { path });
        }
        let there = PlanReader::open(out)?;
        if there.blake3() != from.plan.blake3() {
            return Err(StoreError::Mismatch {
                path,
                field: "plan_blake3".to_owned(),
                expected: from.plan.blake3().to_owned(),
                got: there.blake3().to_owned(),
            });
        }
        return Ok(());
    }
    // A manifest without a plan is a damaged cache, not a place for a new one.
    if out.join(MANIFEST_FILE).exists() {
        return Err(StoreError::Exists { path: out.join(MANIFEST_FILE) });
    }
    remove_leftovers(disk, out)?;
    remove_entry(disk, &out.join(PLAN_FOLDER))?;
    create_folders(disk, &out.join(PLAN_FOLDER))?;
    let source = from.folder().join(PLAN_FILE);
    for (index, shard) in from.plan.plan().shards.iter().enumerate() {
        let name = shard_name(index);
        let staged = restage(&placing.disk, out.join(PLAN_FOLDER).join(&name))?;
        for (record, file) in shard.files.iter().zip([SEQUENCES_FILE, TOKENS_FILE]) {
            let expected = format!("{PLAN_FOLDER}/{name}/{file}");
            if record.path != expected {
                return Err(StoreError::Malformed { path: source, expected, got: record.path.clone() });
            }
            let located = Folder::new(from.folder()).locate(&source, &record.path)?;
            placing.place(&located, record, &staged.file(file))?;
        }
        staged.commit()?;
    }
    let bytes = json::read(&source)?;
    if blake3_hex(&bytes) != from.plan.blake3() {
        return Err(StoreError::damaged(&source, format!("BLAKE3 {}", from.plan.blake3()), blake3_hex(&bytes)));
    }
    replace_file(placing.disk.as_ref(), &path, &bytes)
}
