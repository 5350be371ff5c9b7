//! Downloads a cache, or part of one, to a folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Result, StoreError};
use crate::format::manifest::{MANIFEST_FILE, Manifest};
use crate::format::narrowing::{narrowed_settings, narrowed_shard};
use crate::format::plan::{PLAN_FILE, Plan, PlanReader, shard_name};
use crate::format::records::{FileRecord, ShardRecord};
use crate::format::settings::HarvestSettings;
use crate::format::shard_record::{SHARD_FILE, SHARDS_FOLDER, WrittenShard};
use crate::format::totals::manifest_of;
use crate::fs::hash::blake3_hex;
use crate::fs::json;
use crate::fs::lock::Lock;
use crate::fs::machine::machine;
use crate::fs::staged::{create_folders, replace_file};
use crate::read::cache::{Cache, check_contents};
use crate::remote::blocking::Remote;
use crate::remote::failure::mend;
use crate::remote::landing::{Landing, land, plan_table_place};
use crate::remote::location::Location;
use crate::remote::mirror::no_manifest;
use crate::remote::options::RemoteOptions;
use crate::remote::selection::PullSelection;
use crate::remote::traffic::{Moved, Traffic};
use crate::remote::workers::in_parallel;

/// The result of [`pull`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pulled {
    /// Where the cache came from.
    pub location: String,
    /// Shards downloaded.
    pub shards_brought: usize,
    /// Requested shards that were already whole.
    pub shards_found: usize,
    /// Shards now in the folder.
    pub shards: usize,
    /// Sites now in the folder.
    pub sites: usize,
    /// The data moved.
    pub traffic: Traffic,
    /// BLAKE3 of the `manifest.json` now in the folder.
    pub manifest_blake3: String,
}

/// A pull in progress.
struct Pull<'a> {
    remote: &'a Remote,
    folder: &'a Path,
    manifest: &'a Manifest,
    /// The settings, narrowed to the selected sites.
    settings: HarvestSettings,
    more: &'a (dyn Fn(u64) + Sync),
}

/// A shard to download.
struct Task<'a> {
    record: &'a ShardRecord,
    shard: WrittenShard,
    shard_json: Vec<u8>,
    landing: Landing,
}

/// Downloads the part of the cache at `location` that `selection` names, and the whole plan, into `folder`. The result is a
/// cache that can be opened, verified and harvested further. Every file is verified by its BLAKE3 before it is renamed into
/// place, a shard's folder is renamed as a whole, and the manifest comes last. Existing files are not downloaded again, and
/// interrupted ones are resumed.
///
/// # Errors
/// [`StoreError::Mismatch`] if the folder holds part of another cache, [`StoreError::Locked`] if another process writes to
/// it, [`StoreError::UnknownSite`] and [`StoreError::Invalid`] if the selection names something that does not exist,
/// [`StoreError::Remote`] if the bytes cannot be downloaded.
pub fn pull(
    location: &Location,
    folder: &Path,
    selection: &PullSelection,
    options: &RemoteOptions,
    moved: &(dyn Fn(Moved) + Sync),
) -> Result<Pulled> {
    let remote = Remote::connect(location, options)?;
    let url = PathBuf::from(location.join(MANIFEST_FILE));
    let manifest_bytes = remote.get(MANIFEST_FILE)?.ok_or_else(|| no_manifest(location))?.bytes;
    let manifest: Manifest = json::unseal(&url, &manifest_bytes)?;
    let settings = narrowed_settings(&url, &manifest.settings(), &selection.sites)?;
    let chosen = selection.shards(&manifest)?;
    check_paths(&url, &manifest)?;

    create_folders(machine().as_ref(), folder)?;
    let _lock = Lock::take(folder)?;
    let more = |bytes| moved(Moved::More(bytes));
    let pull = Pull { remote: &remote, folder, manifest: &manifest, settings, more: &more };
    let plan_json = pull.plan_json()?;
    let plan: Plan = json::unseal(&PathBuf::from(location.join(PLAN_FILE)), &plan_json)?;
    let plan_files: Vec<&FileRecord> = plan.shards.iter().flat_map(|shard| &shard.files).collect();
    moved(Moved::Total(pull.total(&plan_files, &chosen)));
    pull.bring_plan(&plan_json, &plan_files)?;
    let plan = PlanReader::open(folder)?;

    create_folders(machine().as_ref(), &folder.join(SHARDS_FOLDER))?;
    let mut tasks = Vec::new();
    let mut found = 0;
    for record in chosen {
        match pull.task(record, &plan)? {
            Some(task) => tasks.push(task),
            None => found += 1,
        }
    }
    pull.bring_shards(&tasks)?;
    let (shards, manifest_blake3) = pull.write_manifest(&plan, &manifest_bytes)?;
    Ok(Pulled {
        location: location.to_string(),
        shards_brought: tasks.len(),
        shards_found: found,
        shards,
        sites: pull.settings.sites.len(),
        traffic: remote.traffic(),
        manifest_blake3,
    })
}

/// Checks that the manifest's shards are where a cache has them, so that nothing lands elsewhere.
fn check_paths(url: &Path, manifest: &Manifest) -> Result<()> {
    for shard in &manifest.shards {
        let expected = format!("{SHARDS_FOLDER}/{}", shard_name(shard.index));
        if shard.path != expected || shard.index >= manifest.planned_shards {
            let (path, named) = (url.to_owned(), shard.path.clone());
            return Err(StoreError::LeavesFolder { path, named });
        }
    }
    Ok(())
}

impl Pull<'_> {
    /// Returns `plan.json`, from the folder if it is there.
    fn plan_json(&self) -> Result<Vec<u8>> {
        let path = self.folder.join(PLAN_FILE);
        let expected = &self.manifest.plan_blake3;
        if path.exists() {
            let bytes = json::read(&path)?;
            let got = blake3_hex(&bytes);
            if got != *expected {
                let field = "plan_blake3".to_owned();
                return Err(StoreError::Mismatch { path, field, expected: expected.clone(), got });
            }
            return Ok(bytes);
        }
        let bytes = self.remote.get(PLAN_FILE)?.map(|fetched| fetched.bytes.to_vec()).unwrap_or_default();
        self.checked(PLAN_FILE, bytes, expected)
    }

    /// Returns downloaded bytes if their hash is right.
    fn checked(&self, name: &str, bytes: Vec<u8>, blake3: &str) -> Result<Vec<u8>> {
        let got = blake3_hex(&bytes);
        if got == blake3 {
            return Ok(bytes);
        }
        Err(StoreError::Remote {
            url: self.remote.location().join(name),
            action: "read",
            expected: format!("BLAKE3 {blake3}").into(),
            got: if bytes.is_empty() { "no such object".into() } else { format!("BLAKE3 {got}").into() },
            advice: mend(self.remote.location()).into(),
        })
    }

    fn total(&self, plan_files: &[&FileRecord], chosen: &[&ShardRecord]) -> u64 {
        let left_out = |file: &&FileRecord| {
            let all = self.manifest.sites.iter().map(|site| &site.name);
            let mut left_out = all.filter(|site| !self.settings.sites.contains(site));
            left_out.any(|site| site.file_name() == file.path)
        };
        let of_shards = chosen.iter().flat_map(|shard| shard.files.iter().skip(1)).filter(|file| !left_out(file));
        plan_files.iter().copied().chain(of_shards).map(|file| file.bytes).fold(0, u64::saturating_add)
    }

    /// Downloads the plan's tables, then writes `plan.json`.
    fn bring_plan(&self, plan_json: &[u8], files: &[&FileRecord]) -> Result<()> {
        let listed_in = self.folder.join(PLAN_FILE);
        // All paths are checked before any download.
        let places = files.iter().map(|file| plan_table_place(file, self.folder)).collect::<Result<Vec<_>>>()?;
        let tables: Vec<_> = files.iter().zip(places).collect();
        in_parallel(self.remote.options().jobs, &tables, |(file, place)| {
            land(self.remote, &file.path, file, place, self.more)
        })?;
        if !listed_in.exists() {
            replace_file(machine().as_ref(), &listed_in, plan_json)?;
        }
        Ok(())
    }

    /// Returns what to download of a shard; `None` if it is already whole.
    fn task<'a>(&self, record: &'a ShardRecord, plan: &PlanReader) -> Result<Option<Task<'a>>> {
        let folder = self.folder.join(&record.path);
        let path = folder.join(SHARD_FILE);
        let own = record.files.first().filter(|file| file.path == SHARD_FILE).ok_or_else(|| StoreError::Malformed {
            path: self.remote.location().join(MANIFEST_FILE).into(),
            expected: "shard.json first among a shard's files".to_owned(),
            got: format!("another in {}", record.path),
        })?;
        let name = format!("{}/{SHARD_FILE}", record.path);
        let there = WrittenShard::find(self.folder, record.index, plan, &self.settings)?;
        // If the local shard has the same record, no request is needed.
        let same = there.as_ref().is_some_and(|there| there.record.files[0].blake3 == own.blake3);
        let bytes = if same {
            json::read(&path)?
        } else {
            self.remote.get(&name)?.map(|fetched| fetched.bytes.to_vec()).unwrap_or_default()
        };
        let bytes = self.checked(&name, bytes, &own.blake3)?;
        let contents = check_contents(self.remote.location().join(&name).as_ref(), self.manifest, record, &bytes)?;
        let (shard, narrowed) = narrowed_shard(&path, &contents, &self.settings)?;
        let Some(there) = there else {
            // With all sites, keep the remote record: another version may have sealed it with other bytes.
            let whole = self.settings.sites.len() == contents.settings.sites.len();
            let (shard, shard_json) =
                if whole { (WrittenShard::new(contents, &bytes), bytes) } else { (shard, narrowed) };
            return Ok(Some(Task { record, shard, shard_json, landing: Landing::begin(folder)? }));
        };
        if there.contents().files != shard.contents().files {
            let differing =
                there.contents().files.iter().zip(&shard.contents().files).find(|(here, there)| here != there);
            let (got, expected) = differing.map_or((own, own), |pair| pair);
            return Err(StoreError::Mismatch {
                path: folder.join(&expected.path),
                field: "BLAKE3".to_owned(),
                expected: expected.blake3.clone(),
                got: got.blake3.clone(),
            });
        }
        (self.more)(shard.contents().files.iter().map(|file| file.bytes).sum());
        Ok(None)
    }

    /// Downloads the files of all shards, and commits each shard as soon as it is complete.
    fn bring_shards(&self, tasks: &[Task<'_>]) -> Result<()> {
        let files: Vec<(&Task<'_>, &FileRecord)> =
            tasks.iter().flat_map(|task| task.shard.contents().files.iter().map(move |file| (task, file))).collect();
        in_parallel(self.remote.options().jobs, &files, |(task, file)| {
            let name = format!("{}/{}", task.record.path, file.path);
            land(self.remote, &name, file, &task.landing.file(&file.path), self.more)?;
            if task.landing.landed() == task.shard.contents().files.len() {
                task.landing.commit(&task.shard_json)?;
            }
            Ok(())
        })
    }

    /// Writes the manifest of all whole shards in the folder. Returns their number and the manifest's BLAKE3.
    fn write_manifest(&self, plan: &PlanReader, there: &[u8]) -> Result<(usize, String)> {
        let mut shards = BTreeMap::new();
        for index in 0..plan.plan().shards.len() {
            if let Some(shard) = WrittenShard::find(self.folder, index, plan, &self.settings)? {
                shards.insert(index, shard);
            }
        }
        let path = self.folder.join(MANIFEST_FILE);
        let all = self.settings.sites.len() == self.manifest.sites.len()
            && shards.values().map(|shard| &shard.record).eq(&self.manifest.shards);
        let bytes = if all { there.to_vec() } else { json::seal(&path, &manifest_of(plan, &self.settings, &shards))? };
        replace_file(machine().as_ref(), &path, &bytes)?;
        // Check that the result opens.
        Cache::open(self.folder)?;
        Ok((shards.len(), blake3_hex(&bytes)))
    }
}
