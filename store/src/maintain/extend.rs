//! Adds shards or sites of another cache with the same plan to a cache.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::error::{Result, StoreError, joined};
use crate::format::manifest::Manifest;
use crate::format::plan::TOKENS_FILE;
use crate::format::records::FileRecord;
use crate::format::settings::HarvestSettings;
use crate::format::shard_record::{SHARD_FILE, SHARDS_FOLDER, ShardContents, ShardSite, WrittenShard};
use crate::format::site::SiteName;
use crate::format::tables::predictions::Predictions;
use crate::format::tables::token_table::TokenTable;
use crate::format::totals::manifest_of;
use crate::fs::disk::Disk;
use crate::fs::json;
use crate::fs::lock::Lock;
use crate::fs::machine::machine;
use crate::fs::staged::{create_folders, remove_leftovers, write_file};
use crate::maintain::destination::check_apart;
use crate::maintain::holding::{Holding, at_home, home};
use crate::maintain::placing::{Files, Placed, Placing, bytes_of, restage};
use crate::maintain::replacing::{Replacement, settle, write_manifest};
use crate::read::cache::Cache;
use crate::read::verify::Progress;

/// The result of [`extend`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Extended {
    /// Shards added.
    pub added_shards: Vec<usize>,
    /// Sites added.
    pub added_sites: Vec<SiteName>,
    /// Shards of the other cache that were not added, because it lacks some of the sites or the predictions.
    pub left_out: Vec<usize>,
    /// Shards in the cache now.
    pub shards: usize,
    /// Shards in its plan.
    pub planned_shards: usize,
    /// Tokens in the cache now.
    pub tokens: u64,
    /// How the files were placed.
    pub placed: Placed,
}

/// Adds to the cache in `folder` the additional contents of `other`, a cache with the same plan, model, type and codec:
/// its additional sites on the same shards, and its additional shards if they have every site. The result is byte for
/// byte that of one harvest of everything. If there is nothing to add, nothing changes.
///
/// All shards of a cache have the same sites, so sites are added only if `other` has every shard of the cache.
/// Predictions of `other` are not copied; if present, they must be bitwise equal.
///
/// If the process is killed, the cache remains valid for readers, with or without the additions, and the same call
/// resumes. Readers that have the cache open while sites are added may have to reopen it.
///
/// # Errors
/// [`StoreError::Unlike`] if the caches do not match, naming the shards that `other` lacks; nothing has been written
/// then. [`StoreError::Damaged`] for a damaged file of `other`; [`StoreError::Locked`] if another process is writing.
pub fn extend(folder: &Path, other: &Path, files: Files, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Extended> {
    extend_on(&machine(), folder, other, files, progress)
}

pub(super) fn extend_on(
    disk: &Arc<dyn Disk>,
    folder: &Path,
    other: &Path,
    files: Files,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Extended> {
    check_apart(folder, &[other.to_owned()])?;
    // Fails if there is no cache, before a lock file is created.
    Cache::open(folder)?;
    let _lock = Lock::take(folder)?;
    settle(disk, folder)?;
    let (ours, theirs) = (Holding::open(folder)?, Holding::open(other)?);
    let extension = Extension::find(&ours, &theirs)?;
    let total_bytes = extension.bytes();
    let mut placing = Placing::new(disk, files, total_bytes, progress);
    let manifest = if extension.added_sites.is_empty() {
        extension.add_shards(&mut placing)?
    } else {
        extension.add_sites(&mut placing)?
    };
    let Extension { added_sites, added_shards, left_out, .. } = extension;
    Ok(Extended {
        added_shards,
        added_sites,
        left_out,
        shards: manifest.shards.len(),
        planned_shards: manifest.planned_shards,
        tokens: manifest.held.tokens,
        placed: placing.placed,
    })
}

/// The additions, determined before anything is written.
struct Extension<'a> {
    ours: &'a Holding,
    theirs: &'a Holding,
    /// The resulting settings of every shard.
    settings: HarvestSettings,
    added_sites: Vec<SiteName>,
    added_shards: Vec<usize>,
    left_out: Vec<usize>,
}

impl<'a> Extension<'a> {
    fn find(ours: &'a Holding, theirs: &'a Holding) -> Result<Self> {
        let mut settings = ours.settings.clone();
        let theirs_has_predictions = theirs.settings.predictions.is_some();
        let asked = HarvestSettings {
            sites: theirs.settings.sites.clone(),
            site_widths: theirs.settings.site_widths.clone(),
            predictions: if theirs_has_predictions { settings.predictions } else { None },
            ..settings.clone()
        };
        ours.check_alike(theirs, &asked)?;
        let lacking = |sites: &[SiteName], of: &[SiteName]| -> Vec<SiteName> {
            of.iter().filter(|site| !sites.contains(site)).cloned().collect()
        };
        let added_sites = lacking(&ours.settings.sites, &theirs.settings.sites);
        settings.sites.extend(added_sites.iter().cloned());
        settings.site_widths.extend(theirs.settings.site_widths.clone());
        settings.sites.sort();
        let new: Vec<usize> = theirs.shards.keys().filter(|index| !ours.shards.contains_key(index)).copied().collect();
        let complete = theirs.settings == settings;
        let (added_shards, left_out) = if complete { (new, Vec::new()) } else { (Vec::new(), new) };
        let extension = Self { ours, theirs, settings, added_sites, added_shards, left_out };
        extension.check_shards()?;
        if extension.added_sites.is_empty() && extension.added_shards.is_empty() && !extension.left_out.is_empty() {
            let missing = lacking(&theirs.settings.sites, &ours.settings.sites);
            let missing = if missing.is_empty() { "its predictions".to_owned() } else { joined(missing) };
            let field = format!("what shards {} have", joined(&extension.left_out));
            return Err(ours.unlike_in(theirs.folder(), field, missing, "none of that"));
        }
        Ok(extension)
    }

    /// Checks that the common contents are equal.
    fn check_shards(&self) -> Result<()> {
        if !self.added_sites.is_empty() {
            let missing: Vec<usize> =
                self.ours.shards.keys().filter(|index| !self.theirs.shards.contains_key(index)).copied().collect();
            if !missing.is_empty() {
                let (field, expected) = ("shards", format!("{} too, for every shard to get", joined(&missing)));
                let expected = format!("{expected} {}", joined(&self.added_sites));
                return Err(self.ours.unlike_in(self.theirs.folder(), field, expected, "none of these"));
            }
        }
        for (index, shard) in &self.ours.shards {
            let Some(their_shard) = self.theirs.shards.get(index) else { continue };
            if self.ours.settings == self.theirs.settings {
                self.ours.check_same_shard(self.theirs, *index)?;
                continue;
            }
            for (site, ours, theirs) in common_files(&shard.contents, &their_shard.contents) {
                if ours != theirs {
                    let path = self.theirs.folder().join(&their_shard.record.path).join(&theirs.path);
                    let field = format!("{site} of shard {index}");
                    return Err(self.ours.unlike_in(&path, field, ours.blake3.as_str(), theirs.blake3.as_str()));
                }
            }
            let (ours, theirs) = (predictions(self.ours, *index)?, predictions(self.theirs, *index)?);
            if let (Some(ours), Some(theirs)) = (ours, theirs)
                && !same_bits(&ours, &theirs)
            {
                let path = self.theirs.folder().join(&their_shard.record.path).join(TOKENS_FILE);
                let field = format!("predictions of shard {index}");
                return Err(self.ours.unlike_in(&path, field, "the same", "others: the two forward passes differ"));
            }
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        let added = bytes_of(self.added_shards.iter().map(|index| &self.theirs.shards[index]));
        let kept = if self.added_sites.is_empty() { 0 } else { bytes_of(self.ours.shards.values()) };
        let common = self.ours.shards.keys().filter_map(|index| self.theirs.shards.get(index));
        let new_files = common
            .flat_map(|shard| &shard.record.files)
            .filter(|file| self.added_sites.iter().any(|site| site.file_name() == file.path));
        added + kept + new_files.map(|file| file.bytes).sum::<u64>()
    }

    /// Adds shards that the manifest does not list. They can be put into place directly.
    fn add_shards(&self, placing: &mut Placing<'_>) -> Result<Manifest> {
        let folder = self.ours.folder();
        let disk = placing.disk.as_ref();
        create_folders(disk, &folder.join(SHARDS_FOLDER))?;
        remove_leftovers(disk, folder)?;
        remove_leftovers(disk, &folder.join(SHARDS_FOLDER))?;
        let mut shards = self.ours.shards.clone();
        for index in &self.added_shards {
            let shard = &self.theirs.shards[index];
            let staged = restage(&placing.disk, folder.join(home(*index)))?;
            placing.place_shard(self.theirs, shard, &staged)?;
            staged.commit()?;
            shards.insert(*index, at_home(shard));
        }
        let manifest = manifest_of(&self.ours.plan, &self.settings, &shards);
        if &manifest != self.ours.cache.manifest() {
            write_manifest(placing.disk.as_ref(), folder, &manifest)?;
        }
        Ok(manifest)
    }

    /// Stages every shard anew, then replaces all at once.
    fn add_sites(&self, placing: &mut Placing<'_>) -> Result<Manifest> {
        let replacement = Replacement::begin(&placing.disk, self.ours.folder())?;
        let mut shards = self.ours.shards.clone();
        for (index, shard) in &self.ours.shards {
            let their_shard = &self.theirs.shards[index];
            let staged = replacement.staged(*index, &self.ours.plan, &self.settings);
            let staged = match staged.filter(|staged| is_union(staged, shard, their_shard)) {
                Some(staged) => staged,
                None => self.stage(placing, &replacement, shard, their_shard)?,
            };
            shards.insert(*index, staged);
        }
        for index in &self.added_shards {
            let shard = &self.theirs.shards[index];
            let staged = replacement.staged(*index, &self.ours.plan, &self.settings);
            if staged.is_none_or(|staged| staged.record.files != shard.record.files) {
                let staged = replacement.stage(*index)?;
                placing.place_shard(self.theirs, shard, &staged)?;
                staged.commit()?;
            }
            shards.insert(*index, at_home(shard));
        }
        let manifest = manifest_of(&self.ours.plan, &self.settings, &shards);
        replacement.finish(manifest.clone())?;
        Ok(manifest)
    }

    /// Stages a shard with the sites of both caches.
    fn stage(
        &self,
        placing: &mut Placing<'_>,
        replacement: &Replacement,
        ours: &WrittenShard,
        theirs: &WrittenShard,
    ) -> Result<WrittenShard> {
        let index = ours.index();
        let staged = replacement.stage(index)?;
        let sequences = &ours.contents.files[0];
        placing.place_own(&self.ours.locate(ours, sequences)?, sequences, &staged.file(&sequences.path))?;
        let (_, planned) = self.ours.plan.sequences_and_tokens(index)?;
        let predictions = predictions(self.ours, index)?;
        let (our_shard, their_shard) =
            (self.ours.cache.shard_of(&ours.record)?, self.theirs.cache.shard_of(&theirs.record)?);
        let mut files = Vec::new();
        let mut sites = Vec::new();
        let mut norms = Vec::new();
        for site in &self.settings.sites {
            let new = self.added_sites.contains(site);
            let (holding, shard, opened) =
                if new { (self.theirs, theirs, &their_shard) } else { (self.ours, ours, &our_shard) };
            let (record, file) = of_site(&shard.contents, site)?;
            let (from, to) = (holding.locate(shard, file)?, staged.file(&file.path));
            if new {
                placing.place(&from, file, &to)?;
            } else {
                placing.place_own(&from, file, &to)?;
            }
            norms.push(opened.norms(site)?);
            files.push(file.clone());
            sites.push(record.clone());
        }
        let norms = self.settings.sites.iter().zip(norms.iter().map(Vec::as_slice)).collect();
        let table = TokenTable { planned: &planned, predictions: predictions.as_ref(), norms };
        let (tokens, statistics) = table.write(placing.disk.as_ref(), &staged.file(TOKENS_FILE))?;
        files.splice(0..0, [sequences.clone(), tokens]);
        // The full logits, if kept, come last.
        for file in &ours.contents.files[2 + ours.contents.sites.len()..] {
            placing.place_own(&self.ours.locate(ours, file)?, file, &staged.file(&file.path))?;
            files.push(file.clone());
        }
        let settings = self.settings.clone();
        let contents = ShardContents { settings, files, sites, statistics, ..ours.contents.clone() };
        let path: PathBuf = staged.file(SHARD_FILE);
        let bytes = json::seal(&path, &contents)?;
        write_file(placing.disk.as_ref(), &path, &bytes)?;
        staged.commit()?;
        Ok(WrittenShard::new(contents, &bytes))
    }
}

/// The predictions of a shard. Every shard of a holding, listed or found, can be opened by its record.
fn predictions(holding: &Holding, index: usize) -> Result<Option<Predictions>> {
    holding.cache.shard_of(&holding.shards[&index].record)?.predictions()
}

/// A shard's records of a site and of its file.
fn of_site<'a>(contents: &'a ShardContents, site: &SiteName) -> Result<(&'a ShardSite, &'a FileRecord)> {
    let mut sites = contents.sites.iter().zip(&contents.files[2..]);
    sites.find(|(record, _)| &record.name == site).ok_or_else(|| {
        StoreError::invalid(format!("sites of shard {}", contents.index), site, contents.settings.sites_in_words())
    })
}

/// The files of the sites that both shards have.
fn common_files<'a>(
    ours: &'a ShardContents,
    theirs: &'a ShardContents,
) -> impl Iterator<Item = (&'a SiteName, &'a FileRecord, &'a FileRecord)> {
    ours.sites.iter().zip(&ours.files[2..]).filter_map(|(site, file)| {
        let (_, theirs) = of_site(theirs, &site.name).ok()?;
        Some((&site.name, file, theirs))
    })
}

/// Whether each site's file in a staged shard comes from one of the two shards.
fn is_union(staged: &WrittenShard, ours: &WrittenShard, theirs: &WrittenShard) -> bool {
    let from = [&ours.contents, &theirs.contents];
    staged.contents.sites.iter().zip(&staged.contents.files[2..]).all(|(site, file)| {
        from.iter().any(|contents| of_site(contents, &site.name).is_ok_and(|(_, source)| source == file))
    })
}

fn same_bits(ours: &Predictions, theirs: &Predictions) -> bool {
    let bits = |values: &[f32]| -> Vec<u32> { values.iter().map(|value| value.to_bits()).collect() };
    let columns = |it: &Predictions| [&it.loss, &it.logsumexp, &it.entropy, &it.top_logits].map(|column| bits(column));
    ours.top_ids == theirs.top_ids && columns(ours) == columns(theirs)
}
