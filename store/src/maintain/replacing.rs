//! Replaces shards that a manifest lists, so that readers see the complete old cache or the complete new one, even if
//! the process is killed.
//!
//! ```text
//!  1  .replaced.partial/00000 …    stage the new shards one by one; nothing refers to them
//!  2  replaced/00000 …             all are staged: rename the folder
//!  3  manifest.json → replaced/…   switch to the new cache, in one step
//!  4  shards/00000 …               link the new shards into place
//!  5  manifest.json → shards/…     refer to the final paths
//!  6  remove replaced/
//! ```
//!
//! The manifest is the journal. Killed before 3, the cache is the old one: the same command resumes with the shards
//! that are staged, and another writer removes them. Killed after 3, it is the new one and [`settle`] continues from 4.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Result, StoreError};
use crate::format::manifest::{MANIFEST_FILE, Manifest};
use crate::format::plan::{PlanReader, shard_name};
use crate::format::settings::HarvestSettings;
use crate::format::shard_record::{SHARDS_FOLDER, WrittenShard};
use crate::fs::disk::Disk;
use crate::fs::folder::Folder;
use crate::fs::json;
use crate::fs::staged::{StagedFolder, create_folders, remove_entry, remove_leftovers, replace_file};
use crate::maintain::holding::home;
use crate::maintain::placing::{Files, Placing, restage};
use crate::read::cache::Cache;
use crate::read::verify::plan_of;

/// The folder that the manifest refers to in between.
const REPLACED: &str = "replaced";
const STAGING: &str = ".replaced.partial";

/// New shards staged beside those that they replace. The caller holds the cache's lock.
pub(super) struct Replacement {
    disk: Arc<dyn Disk>,
    cache: PathBuf,
}

impl Replacement {
    /// Starts a replacement, or resumes a killed one. The cache must be settled.
    pub(super) fn begin(disk: &Arc<dyn Disk>, cache: &Path) -> Result<Self> {
        let replacement = Self { disk: Arc::clone(disk), cache: cache.to_owned() };
        let staging = cache.join(STAGING);
        create_folders(disk.as_ref(), &staging)?;
        remove_leftovers(disk.as_ref(), &staging)?;
        Ok(replacement)
    }

    /// A shard staged by an earlier attempt, if it is complete and made with these settings.
    pub(super) fn staged(&self, index: usize, plan: &PlanReader, settings: &HarvestSettings) -> Option<WrittenShard> {
        // A damaged or different one is staged again.
        WrittenShard::find_at(self.place(index), index, plan, settings).ok().flatten()
    }

    /// Starts staging a shard.
    pub(super) fn stage(&self, index: usize) -> Result<StagedFolder> {
        restage(&self.disk, self.place(index))
    }

    fn place(&self, index: usize) -> PathBuf {
        self.cache.join(STAGING).join(shard_name(index))
    }

    /// Switches the cache to `manifest`, whose shards are all staged.
    pub(super) fn finish(self, mut manifest: Manifest) -> Result<()> {
        let Self { disk, cache } = self;
        rename(disk.as_ref(), &cache.join(STAGING), &cache.join(REPLACED))?;
        for shard in &mut manifest.shards {
            shard.path = format!("{REPLACED}/{}", shard_name(shard.index));
        }
        write_manifest(disk.as_ref(), &cache, &manifest)?;
        settle(&disk, &cache)
    }
}

/// Moves replaced shards to their final places, if a replacement got that far. The caller holds the lock.
pub(super) fn settle(disk: &Arc<dyn Disk>, folder: &Path) -> Result<()> {
    let cache = Cache::open(folder)?;
    if !is_unsettled(cache.manifest()) {
        // The manifest does not refer to it yet, or no longer does. It is unfinished work: the same command resumes it,
        // and any other writer removes it.
        let (replaced, staging) = (folder.join(REPLACED), folder.join(STAGING));
        if replaced.exists() {
            remove_entry(disk.as_ref(), &staging)?;
            rename(disk.as_ref(), &replaced, &staging)?;
        }
        return Ok(());
    }
    let plan = plan_of(&cache)?;
    let settings = cache.manifest().settings();
    let mut manifest = cache.manifest().clone();
    let shards_folder = folder.join(SHARDS_FOLDER);
    create_folders(disk.as_ref(), &shards_folder)?;
    remove_leftovers(disk.as_ref(), &shards_folder)?;
    let mut silent = |_: crate::Progress<'_>| ();
    let mut placing = Placing::new(disk, Files::LinkOrCopy, 0, &mut silent);
    for record in &mut manifest.shards {
        let place = home(record.index);
        if record.path == place {
            continue;
        }
        let there = WrittenShard::find(folder, record.index, &plan, &settings).ok().flatten();
        if there.is_none_or(|there| there.record.files != record.files) {
            let staged = restage(disk, folder.join(&place))?;
            for file in &record.files {
                let named = format!("{}/{}", record.path, file.path);
                let from = Folder::new(folder).locate(&folder.join(MANIFEST_FILE), &named)?;
                placing.place_own(&from, file, &staged.file(&file.path))?;
            }
            staged.commit()?;
        }
        record.path = place;
    }
    write_manifest(disk.as_ref(), folder, &manifest)?;
    // Use the name of unfinished work, so that a partly removed folder is not taken for a replacement.
    rename(disk.as_ref(), &folder.join(REPLACED), &folder.join(STAGING))?;
    remove_entry(disk.as_ref(), &folder.join(STAGING))
}

/// Whether a manifest refers to shards outside their final places.
pub(super) fn is_unsettled(manifest: &Manifest) -> bool {
    manifest.shards.iter().any(|shard| shard.path != home(shard.index))
}

/// Replaces the manifest.
pub(super) fn write_manifest(disk: &dyn Disk, folder: &Path, manifest: &Manifest) -> Result<()> {
    let path = folder.join(MANIFEST_FILE);
    replace_file(disk, &path, &json::seal(&path, manifest)?)
}

fn rename(disk: &dyn Disk, from: &Path, to: &Path) -> Result<()> {
    disk.rename(from, to).map_err(|source| StoreError::io(to, "give the folder its name", source))?;
    let parent = to.parent().unwrap_or(Path::new("."));
    disk.sync_folder(parent).map_err(|source| StoreError::io(parent, "write to the disk", source))
}
