//! `shard.json`: the contents of a shard's folder. It makes a shard self-describing: a resume needs no manifest, and
//! shards from several machines can be merged.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::codec::rounding::RoundingError;
use crate::error::{Result, StoreError, joined};
use crate::format::group_sums::{self, GroupSums};
use crate::format::plan::{PlanReader, SEQUENCES_FILE, TOKENS_FILE, shard_name};
use crate::format::records::{Counts, FileRecord, ShardRecord};
use crate::format::settings::HarvestSettings;
use crate::format::site::SiteName;
use crate::format::statistics::ActivationSums;
use crate::fs::folder::Folder;
use crate::fs::hash::blake3_hex;
use crate::fs::json;

pub(crate) const SHARD_FILE: &str = "shard.json";
/// The folder of claims in a cache, and the prefix of their names in a bucket.
pub(crate) const CLAIMS_FOLDER: &str = "claims";
pub(crate) const SHARDS_FOLDER: &str = "shards";

/// The contents of `shard.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardContents {
    /// Format version.
    pub format: u32,
    /// Number of the shard in the plan.
    pub index: usize,
    /// BLAKE3 of the `plan.json` that the shard was made from.
    pub plan_blake3: String,
    /// The harvest settings.
    pub settings: HarvestSettings,
    /// Counts of sequences and tokens.
    pub counts: Counts,
    /// Files: `sequences.parquet`, `tokens.parquet`, one per site, then `logits.parquet` if full logits are stored.
    /// Paths are relative to the shard's folder.
    pub files: Vec<FileRecord>,
    /// The sites, in the order of `settings.sites`.
    pub sites: Vec<ShardSite>,
    /// The full logits, if stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logits: Option<ShardLogits>,
    /// Sums by section and subset.
    pub statistics: Vec<GroupSums>,
}

/// One site's activations over a shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardSite {
    /// The site.
    pub name: SiteName,
    /// BLAKE3 of the file's footer: the Parquet metadata, its length and the closing magic.
    pub footer_blake3: String,
    /// Sums over the shard's rows, of the activations before encoding.
    pub sums: ActivationSums,
    /// Rounding error, for a lossy codec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rounding: Option<RoundingError>,
}

/// The full logits over a shard, `[rows, vocab_size]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardLogits {
    /// BLAKE3 of the file's footer.
    pub footer_blake3: String,
    /// Rounding error, for a lossy codec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rounding: Option<RoundingError>,
}

/// A complete, committed shard.
#[derive(Clone, Debug)]
pub struct WrittenShard {
    pub(crate) contents: ShardContents,
    pub(crate) record: ShardRecord,
}

impl WrittenShard {
    /// Returns the shard's number in the plan.
    pub fn index(&self) -> usize {
        self.contents.index
    }

    /// Returns the contents of the shard's `shard.json`.
    pub fn contents(&self) -> &ShardContents {
        &self.contents
    }

    /// Creates the shard with these contents, whose `shard.json` is `bytes`.
    pub(crate) fn new(contents: ShardContents, bytes: &[u8]) -> Self {
        let own = FileRecord { path: SHARD_FILE.to_owned(), bytes: bytes.len() as u64, blake3: blake3_hex(bytes) };
        let record = ShardRecord {
            index: contents.index,
            path: format!("{SHARDS_FOLDER}/{}", shard_name(contents.index)),
            counts: contents.counts.clone(),
            files: std::iter::once(own).chain(contents.files.iter().cloned()).collect(),
        };
        Self { contents, record }
    }

    /// Finds the shard `index` of a cache. Returns it if complete: `shard.json` is intact, and every listed file has
    /// its recorded size.
    ///
    /// # Errors
    /// Fails if the shard belongs to another harvest and must not be replaced: its format version, settings or plan
    /// differ.
    pub(crate) fn find(
        cache: &Path,
        index: usize,
        plan: &PlanReader,
        settings: &HarvestSettings,
    ) -> Result<Option<Self>> {
        let named = format!("{SHARDS_FOLDER}/{}", shard_name(index));
        if !cache.join(&named).exists() {
            return Ok(None);
        }
        // The path may be a link.
        match Folder::new(cache).locate(cache, &named) {
            Ok(folder) => Self::find_at(folder, index, plan, settings),
            // Removed concurrently.
            Err(StoreError::Damaged { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Finds the shard `index` in the given folder, as `find` does.
    pub(crate) fn find_at(
        folder: PathBuf,
        index: usize,
        plan: &PlanReader,
        settings: &HarvestSettings,
    ) -> Result<Option<Self>> {
        let path = folder.join(SHARD_FILE);
        if !path.exists() {
            return Ok(None);
        }
        let bytes = match Folder::new(&folder).locate(&path, SHARD_FILE).and_then(|path| json::read(&path)) {
            // Removed concurrently.
            Err(_) if !path.exists() => return Ok(None),
            read => read?,
        };
        let Some(shard) = Self::read(&path, &bytes, index, plan, settings)? else { return Ok(None) };
        let folder = Folder::new(folder);
        for file in &shard.contents.files {
            let size = match folder.locate(&path, &file.path) {
                Ok(file) => std::fs::metadata(&file).ok().map(|metadata| metadata.len()),
                Err(_) if !path.exists() => None,
                Err(StoreError::Damaged { .. }) => None,
                Err(other) => return Err(other),
            };
            if size != Some(file.bytes) {
                return Ok(None);
            }
        }
        Ok(Some(shard))
    }

    /// Parses the `shard.json` of shard `index`, with path `path` and contents `bytes`. Returns `None` if it is
    /// damaged.
    ///
    /// # Errors
    /// Those of [`Self::find`].
    pub(crate) fn read(
        path: &Path,
        bytes: &[u8],
        index: usize,
        plan: &PlanReader,
        settings: &HarvestSettings,
    ) -> Result<Option<Self>> {
        let contents: ShardContents = match json::unseal(path, bytes) {
            Ok(contents) => contents,
            Err(StoreError::Damaged { .. }) => return Ok(None),
            Err(other) => return Err(other),
        };
        let mismatch = |field: &str, expected: String, got: String| StoreError::Mismatch {
            path: path.to_owned(),
            field: field.to_owned(),
            expected,
            got,
        };
        if contents.plan_blake3 != plan.blake3() {
            return Err(mismatch("plan_blake3", plan.blake3().to_owned(), contents.plan_blake3));
        }
        if let Some((field, expected, got)) = settings.difference(&contents.settings) {
            return Err(mismatch(&field, expected, got));
        }
        if contents.index != index {
            return Err(mismatch("index", index.to_string(), contents.index.to_string()));
        }
        check_listing(path, &contents, &plan.shard(index)?.counts)?;
        Ok(Some(Self::new(contents, bytes)))
    }
}

/// Returns the names of the files in a shard's record, in order.
pub(crate) fn file_names(settings: &HarvestSettings) -> impl Iterator<Item = String> {
    let logits = settings.predictions.is_some_and(|kept| kept.full_logits).then(SiteName::logits);
    let tables = [SEQUENCES_FILE, TOKENS_FILE].map(str::to_owned);
    let sites = settings.sites.iter().map(SiteName::file_name);
    tables.into_iter().chain(sites).chain(logits.as_ref().map(SiteName::file_name))
}

/// Checks that a shard's record matches its settings and the plan.
pub(crate) fn check_listing(path: &Path, contents: &ShardContents, planned: &Counts) -> Result<()> {
    let malformed = |expected: String, got: String| StoreError::Malformed { path: path.to_owned(), expected, got };
    if &contents.counts != planned {
        return Err(malformed(
            format!("{} sequences and {} tokens, as planned", planned.sequences, planned.tokens),
            format!("{} and {}", contents.counts.sequences, contents.counts.tokens),
        ));
    }
    let files: Vec<&str> = contents.files.iter().map(|file| file.path.as_str()).collect();
    let expected: Vec<String> = file_names(&contents.settings).collect();
    if files != expected {
        return Err(malformed(format!("the files {}", joined(expected)), joined(files)));
    }
    if let Some(file) = contents.files.iter().find(|file| blake3::Hash::from_hex(&file.blake3).is_err()) {
        return Err(malformed(format!("a BLAKE3 hash for {}", file.path), file.blake3.chars().take(80).collect()));
    }
    contents.settings.check_sizes().map_err(|error| malformed("sizes of a model".to_owned(), error.to_string()))?;
    let kept = contents.settings.predictions;
    let keeps_logits = kept.is_some_and(|kept| kept.full_logits);
    let sites_fit = contents.sites.len() == contents.settings.sites.len()
        && contents.sites.iter().zip(&contents.settings.sites).all(|(site, name)| {
            let sums = &site.sums;
            site.name == *name
                && sums.rows == contents.counts.tokens
                && sums.non_finite_rows <= sums.rows
                && sums.elements.len() == contents.settings.width(name)
        });
    let statistics_fit =
        group_sums::fit(&contents.statistics, &contents.counts, &contents.settings.sites, kept.is_some());
    if sites_fit && statistics_fit && keeps_logits == contents.logits.is_some() {
        Ok(())
    } else {
        let rows = contents.counts.tokens;
        Err(malformed(
            format!("sums over {rows} rows, as wide as they are, for each site, section and subset"),
            "others".to_owned(),
        ))
    }
}
