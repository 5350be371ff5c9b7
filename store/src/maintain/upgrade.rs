//! Upgrades a cache of an earlier format version to the current one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::FORMAT_VERSION;
use crate::error::{Result, StoreError};
use crate::format::group_sums::GroupSums;
use crate::format::plan::{PLAN_FILE, Plan, PlanReader};
use crate::format::settings::HarvestSettings;
use crate::format::shard_record::{SHARD_FILE, SHARDS_FOLDER, ShardContents, WrittenShard};
use crate::format::site::SiteName;
use crate::format::tables::token_table::TokenTable;
use crate::format::totals::manifest_of;
use crate::fs::disk::Disk;
use crate::fs::json;
use crate::fs::lock::Lock;
use crate::fs::machine::machine;
use crate::fs::staged::{remove_leftovers, replace_file, write_file};
use crate::maintain::holding::Holding;
use crate::maintain::placing::{Files, Placing, bytes_of};
use crate::maintain::replacing::{Replacement, settle};
use crate::maintain::verify::Progress;
use crate::read::cache::{Cache, Shard};

/// The result of [`upgrade`], or of a dry run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Upgraded {
    /// The version before.
    pub from: u32,
    /// The version now.
    pub to: u32,
    /// Shards whose records were rewritten; none if the version was current.
    pub shards: usize,
}

/// Upgrades the cache in `folder` to the current format version. With `dry_run`, only reads the data for it.
///
/// Rewrites `plan.json`, every `shard.json` and the manifest, and adds statistics of sections and subsets, computed
/// from the tables. Activations and tables keep their files.
///
/// If the process is killed, the cache remains valid for readers, in the old version or the new one, and the same call
/// resumes.
///
/// # Errors
/// [`StoreError::Damaged`] for a damaged table or record; [`StoreError::Locked`] if another process is writing.
pub fn upgrade(folder: &Path, dry_run: bool, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Upgraded> {
    upgrade_on(&machine(), folder, dry_run, progress)
}

pub(super) fn upgrade_on(
    disk: &Arc<dyn Disk>,
    folder: &Path,
    dry_run: bool,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Upgraded> {
    // Fails if there is neither, before a lock file is created.
    let is_filled = match Cache::open(folder) {
        Ok(_) => true,
        Err(StoreError::MissingManifest { .. }) if PlanReader::open(folder).is_ok() => false,
        Err(error) => return Err(error),
    };
    let _lock = if dry_run { None } else { Some(Lock::take(folder)?) };
    if !is_filled {
        return upgrade_plan(disk, folder, dry_run);
    }
    if !dry_run {
        settle(disk, folder)?;
    }
    let old = Holding::open(folder)?;
    let from = old.cache.manifest().format;
    if from == FORMAT_VERSION {
        if !dry_run {
            remove_leftovers(disk.as_ref(), folder)?;
        }
        return Ok(Upgraded { from, to: FORMAT_VERSION, shards: 0 });
    }
    let plan = Plan { format: FORMAT_VERSION, ..old.plan.plan().clone() };
    let plan_bytes = json::seal(&folder.join(PLAN_FILE), &plan)?;
    let plan = old.plan.replaced_by(plan, &plan_bytes);
    let mut placing = Placing::new(disk, Files::LinkOrCopy, bytes_of(old.shards.values()), progress);
    if dry_run {
        for shard in old.shards.values() {
            statistics(&old.cache.shard_of(&shard.record)?, &old.settings)?;
            placing.advance(bytes_of([shard]), &folder.join(&shard.record.path));
        }
        return Ok(Upgraded { from, to: FORMAT_VERSION, shards: old.shards.len() });
    }
    let replacement = Replacement::begin(disk, folder)?;
    replacement.stage_plan(&plan_bytes)?;
    let mut shards = BTreeMap::new();
    for (index, shard) in &old.shards {
        let staged = replacement.staged(*index, &plan, &old.settings);
        let staged = staged.filter(|staged| staged.contents.files == shard.contents.files);
        let staged = match staged {
            Some(staged) => staged,
            None => stage(&mut placing, &replacement, &old, shard, &plan)?,
        };
        shards.insert(*index, staged);
    }
    replacement.finish(manifest_of(&plan, &old.settings, &shards))?;
    Ok(Upgraded { from, to: FORMAT_VERSION, shards: shards.len() })
}

/// Upgrades a plan without harvested shards.
fn upgrade_plan(disk: &Arc<dyn Disk>, folder: &Path, dry_run: bool) -> Result<Upgraded> {
    let old = PlanReader::open(folder)?;
    let from = old.plan().format;
    let shards = folder.join(SHARDS_FOLDER);
    let has_shards = std::fs::read_dir(&shards).is_ok_and(|mut entries| entries.next().is_some());
    if has_shards {
        let what = format!("{}: a cache to upgrade", folder.display());
        return Err(StoreError::invalid(what, "a manifest beside its shards", "none: run `store repair` first"));
    }
    if from != FORMAT_VERSION && !dry_run {
        let plan = Plan { format: FORMAT_VERSION, ..old.plan().clone() };
        let path = folder.join(PLAN_FILE);
        replace_file(disk.as_ref(), &path, &json::seal(&path, &plan)?)?;
    }
    Ok(Upgraded { from, to: FORMAT_VERSION, shards: 0 })
}

/// Stages a shard with the same files under a record of the current version.
fn stage(
    placing: &mut Placing<'_>,
    replacement: &Replacement,
    old: &Holding,
    shard: &WrittenShard,
    plan: &PlanReader,
) -> Result<WrittenShard> {
    let opened = old.cache.shard_of(&shard.record)?;
    let staged = replacement.stage(shard.index())?;
    for file in &shard.contents.files {
        placing.place_own(&old.locate(shard, file)?, file, &staged.file(&file.path))?;
    }
    let contents = ShardContents {
        format: FORMAT_VERSION,
        plan_blake3: plan.blake3().to_owned(),
        statistics: Some(statistics(&opened, &old.settings)?),
        ..shard.contents.clone()
    };
    let path = staged.file(SHARD_FILE);
    let bytes = json::seal(&path, &contents)?;
    write_file(placing.disk.as_ref(), &path, &bytes)?;
    staged.commit()?;
    Ok(WrittenShard::new(contents, &bytes))
}

/// Computes a shard's sums over sections and subsets from its tables.
fn statistics(shard: &Shard, settings: &HarvestSettings) -> Result<Vec<GroupSums>> {
    let (planned, predictions) = (shard.tokens()?, shard.predictions()?);
    let norms = settings.sites.iter().map(|site| shard.norms(site)).collect::<Result<Vec<_>>>()?;
    let norms: Vec<(&SiteName, &[f32])> = settings.sites.iter().zip(norms.iter().map(Vec::as_slice)).collect();
    Ok(TokenTable { planned: &planned, predictions: predictions.as_ref(), norms }.statistics())
}
