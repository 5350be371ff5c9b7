//! Repairs a damaged cache: restores what can be recovered and drops the rest, for a resume to fill again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::error::{Result, StoreError, joined};
use crate::format::manifest::{MANIFEST_FILE, Manifest};
use crate::format::plan::{PLAN_FILE, PlanReader};
use crate::format::settings::HarvestSettings;
use crate::format::shard_record::{SHARD_FILE, SHARDS_FOLDER, ShardContents, WrittenShard};
use crate::format::totals::manifest_of;
use crate::fs::disk::Disk;
use crate::fs::json;
use crate::fs::lock::Lock;
use crate::fs::machine::machine;
use crate::fs::staged::{create_folders, discard, remove_leftovers, replace_file};
use crate::maintain::holding::home;
use crate::maintain::plan_repair::damaged_tables;
use crate::maintain::replacing::{settle, write_manifest};
use crate::read::cache::Cache;
use crate::read::verify::{Progress, verify_shards};

/// The result of [`repair`], or of a dry run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Repaired {
    /// The problems, in the order found. Empty if the cache was intact.
    pub repairs: Vec<Repair>,
    /// Shards dropped.
    pub dropped: Vec<usize>,
    /// Complete shards that remain.
    pub shards: usize,
    /// Planned shards that are missing, for `harvest run --resume` to fill.
    pub missing: usize,
    /// Files of the plan that could not be restored. Their shards cannot be filled again.
    pub lost: Vec<String>,
}

/// A problem that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Repair {
    /// The file or folder, relative to the cache's folder.
    pub path: String,
    /// What was done: `restored` to the original bytes, `rewritten`, `dropped`, or `lost` if nothing could be done.
    pub action: &'static str,
    /// What was wrong, and the source it was restored from.
    pub why: String,
}

/// Repairs the cache in `folder` as far as its own files allow. With `dry_run`, only reports the repairs.
///
/// - A manifest that is missing, damaged, or outdated is rebuilt from the shards' records.
/// - The plan's tables and a shard's `sequences.parquet` are restored from one another, byte for byte.
/// - Every file is checked, as by [`verify`](crate::verify()). Damaged shards are dropped, so that `harvest
///   run --resume` fills them again with the same bytes. A shard that the plan can no longer fill is kept.
///
/// # Errors
/// [`StoreError::PlanLost`] if `plan.json` is missing or damaged; nothing has been written then.
/// [`StoreError::Mismatch`] if the manifest is lost and the shards disagree about the settings. [`StoreError::Locked`]
/// if another process is writing.
pub fn repair(folder: &Path, dry_run: bool, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Repaired> {
    repair_on(&machine(), folder, dry_run, progress)
}

pub(super) fn repair_on(
    disk: &Arc<dyn Disk>,
    folder: &Path,
    dry_run: bool,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Repaired> {
    let (cache, manifest_problem) = match Cache::open(folder) {
        Ok(cache) => (Some(cache), None),
        Err(error @ StoreError::MissingManifest { .. }) if !folder.join(PLAN_FILE).exists() => return Err(error),
        Err(
            error @ (StoreError::MissingManifest { .. } | StoreError::Damaged { .. } | StoreError::Malformed { .. }),
        ) => (None, Some(error.to_string())),
        Err(other) => return Err(other),
    };
    let _lock = if dry_run { None } else { Some(Lock::take(folder)?) };
    let cache = match cache {
        Some(_) if !dry_run => {
            // First complete a replacement that was interrupted.
            settle(disk, folder)?;
            remove_leftovers(disk.as_ref(), folder)?;
            remove_leftovers(disk.as_ref(), &folder.join(SHARDS_FOLDER))?;
            Some(Cache::open(folder)?)
        }
        cache => cache,
    };
    let plan = readable_plan(folder, cache.as_ref())?;
    let mut job = Job { disk, folder, dry_run, plan, repaired: Repaired::default() };
    let lost = job.restore_tables()?;
    let manifest = job.present(cache.as_ref().map(Cache::manifest), manifest_problem)?;
    job.drop_damaged(manifest, cache.as_ref().map(Cache::manifest), &lost, progress)?;
    Ok(job.repaired)
}

/// Opens the plan, without which no shard can be filled again.
fn readable_plan(folder: &Path, cache: Option<&Cache>) -> Result<PlanReader> {
    let lost = |why: String| StoreError::PlanLost { path: folder.join(PLAN_FILE), why };
    let plan = PlanReader::open(folder).map_err(|error| match error {
        StoreError::MissingPlan { .. } => lost("there is none".to_owned()),
        StoreError::Damaged { expected, got, .. } | StoreError::Malformed { expected, got, .. } => {
            lost(format!("expected {expected}, got {got}"))
        }
        other => other,
    })?;
    match cache.map(|cache| &cache.manifest().plan_blake3) {
        Some(expected) if expected != plan.blake3() => {
            Err(lost(format!("expected BLAKE3 {expected} by the manifest, got {}", plan.blake3())))
        }
        _ => Ok(plan),
    }
}

struct Job<'a> {
    disk: &'a Arc<dyn Disk>,
    folder: &'a Path,
    dry_run: bool,
    plan: PlanReader,
    repaired: Repaired,
}

impl Job<'_> {
    fn note(&mut self, path: impl Into<String>, action: &'static str, why: impl Into<String>) {
        self.repaired.repairs.push(Repair { path: path.into(), action, why: why.into() });
    }

    /// Restores damaged tables. Returns the shards whose plan could not be restored.
    fn restore_tables(&mut self) -> Result<BTreeSet<usize>> {
        let mut lost = BTreeSet::new();
        for index in 0..self.plan.plan().shards.len() {
            for table in damaged_tables(self.folder, &self.plan, index, &home(index))? {
                let Some(bytes) = table.bytes else {
                    // A shard's own table is dropped with the shard.
                    if table.file.starts_with("plan/") {
                        lost.insert(index);
                        self.repaired.lost.push(table.file.clone());
                        self.note(table.file, "lost", table.problem);
                    }
                    continue;
                };
                if !self.dry_run {
                    let path = self.folder.join(&table.file);
                    create_folders(self.disk.as_ref(), path.parent().unwrap_or(self.folder))?;
                    replace_file(self.disk.as_ref(), &path, &bytes)?;
                }
                self.note(table.file, "restored", format!("from {}: {}", table.source, table.problem));
            }
        }
        Ok(lost)
    }

    /// The manifest, with the complete shards missing from it added. If it is lost, it is rebuilt from the shards'
    /// records.
    fn present(&mut self, manifest: Option<&Manifest>, problem: Option<String>) -> Result<Manifest> {
        let settings = match manifest {
            Some(manifest) => manifest.settings(),
            None => self.settings_of_first()?,
        };
        let mut shards = BTreeMap::new();
        let listed: BTreeSet<usize> =
            manifest.iter().flat_map(|manifest| &manifest.shards).map(|shard| shard.index).collect();
        for index in 0..self.plan.plan().shards.len() {
            if listed.contains(&index) {
                continue;
            }
            if let Some(shard) = WrittenShard::find(self.folder, index, &self.plan, &settings)? {
                shards.insert(index, shard);
            }
        }
        let Some(manifest) = manifest else {
            let why = problem.unwrap_or_default();
            self.note(MANIFEST_FILE, "rewritten", format!("from {} whole shards: {why}", shards.len()));
            return Ok(manifest_of(&self.plan, &settings, &shards));
        };
        if shards.is_empty() {
            return Ok(manifest.clone());
        }
        let why = format!("shards {} are whole and not listed", joined(shards.keys()));
        self.note(MANIFEST_FILE, "rewritten", why);
        let mut manifest = manifest.clone();
        manifest.shards.extend(shards.into_values().map(|shard| shard.record));
        manifest.shards.sort_by_key(|shard| shard.index);
        Ok(manifest)
    }

    /// The settings of the first shard whose record is intact.
    fn settings_of_first(&self) -> Result<HarvestSettings> {
        for index in 0..self.plan.plan().shards.len() {
            let path = self.folder.join(home(index)).join(SHARD_FILE);
            if !path.exists() {
                continue;
            }
            match json::unseal::<ShardContents>(&path, &json::read(&path)?) {
                Ok(contents) => return Ok(contents.settings),
                Err(StoreError::Damaged { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        let what = format!("{}: records of shards to make a manifest from", self.folder.display());
        Err(StoreError::invalid(what, "at least one shards/NUMBER/shard.json that is intact", "none: harvest again"))
    }

    /// Checks every file of the shards of `manifest`, drops damaged shards, and replaces the manifest if it changed.
    fn drop_damaged(
        &mut self,
        manifest: Manifest,
        there: Option<&Manifest>,
        lost: &BTreeSet<usize>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<()> {
        let settings = manifest.settings();
        let paths: Vec<(usize, String)> =
            manifest.shards.iter().map(|shard| (shard.index, format!("{}/", shard.path))).collect();
        let cache = Cache::with_manifest(self.folder, manifest);
        let mut damaged: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for damage in verify_shards(&cache, progress).damages {
            // In a dry run, restorable files are still damaged.
            if self.repaired.repairs.iter().any(|repair| repair.action == "restored" && repair.path == damage.file) {
                continue;
            }
            match paths.iter().find(|(_, path)| damage.file.starts_with(path)) {
                Some((index, _)) => damaged.entry(*index).or_default().push(damage.problem),
                // The sums of a manifest with added shards are recomputed anyway.
                None if self.repaired.repairs.iter().any(|repair| repair.path == damage.file) => {}
                None => self.note(damage.file, "rewritten", damage.problem),
            }
        }
        let mut kept = BTreeMap::new();
        for record in &cache.manifest().shards {
            match damaged.get(&record.index) {
                Some(problems) if lost.contains(&record.index) => {
                    let why = format!("{}; not dropped, as the plan cannot fill it again", problems.join("; "));
                    self.note(record.path.clone(), "lost", why);
                }
                Some(problems) => {
                    self.note(record.path.clone(), "dropped", problems.join("; "));
                    self.repaired.dropped.push(record.index);
                    if !self.dry_run {
                        discard(self.disk.as_ref(), &self.folder.join(&record.path))?;
                    }
                    continue;
                }
                None => {}
            }
            match cache.contents(record) {
                Ok(contents) => drop(kept.insert(record.index, WrittenShard { contents, record: record.clone() })),
                Err(error) if lost.contains(&record.index) => {
                    // It stays in place but can no longer be listed.
                    self.note(record.path.clone(), "lost", error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
        let repaired = manifest_of(&self.plan, &settings, &kept);
        self.repaired.shards = kept.len();
        self.repaired.missing = repaired.planned_shards - kept.len();
        if there != Some(&repaired) && !self.dry_run {
            write_manifest(self.disk.as_ref(), self.folder, &repaired)?;
        }
        Ok(())
    }
}
