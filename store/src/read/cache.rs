//! Reading a cache.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Result, StoreError};
use crate::format::activations::layout::Layout;
use crate::format::activations::reader::ActivationReader;
use crate::format::manifest::{MANIFEST_FILE, Manifest};
use crate::format::plan::PLAN_FILE;
use crate::format::records::{KeptPredictions, ShardRecord};
use crate::format::shard_record::{SHARD_FILE, ShardContents, check_listing};
use crate::format::site::SiteName;
use crate::format::tables::prediction_columns;
use crate::format::tables::predictions::Predictions;
use crate::format::tables::sequences::{self, Sequence, row_group_rows};
use crate::format::tables::tokens::{self, Tokens};
use crate::fs::folder::{Folder, plain_path};
use crate::fs::hash::blake3_hex;
use crate::fs::json;
use crate::fs::lock::Lock;
use crate::remote::{Location, Mirror, RemoteOptions, Traffic};

/// A cache that has been opened for reading. It may still be growing: it is what its manifest said when it was opened.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: Folder,
    path: PathBuf,
    manifest: Manifest,
    manifest_blake3: String,
    /// Where the files come from, unless the folder has them.
    mirror: Option<Arc<Mirror>>,
}

impl Cache {
    /// Reads the manifest in `folder`.
    ///
    /// # Errors
    /// [`StoreError::MissingManifest`] with what the folder seems to be, [`StoreError::Version`],
    /// [`StoreError::Damaged`], [`StoreError::LeavesFolder`] where it names a path outside.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST_FILE);
        if !path.exists() {
            return Err(missing_manifest(folder));
        }
        let path = Folder::new(folder).locate(folder, MANIFEST_FILE)?;
        let bytes = json::read(&path)?;
        Self::of(Folder::new(folder), path, &bytes, None)
    }

    /// Opens a cache in a folder or at a [`Location`]. Of a remote one the manifest is read; other files are brought
    /// one by one when they are asked for, each checked by its BLAKE3, and kept in a local folder of bounded size, in
    /// which those used least recently make room.
    ///
    /// # Errors
    /// As [`Self::open`], and [`StoreError::Remote`] where there is no answer or no manifest.
    pub fn open_at(place: &Path, options: &RemoteOptions) -> Result<Self> {
        match Location::of_place(place)? {
            Some(location) => Self::open_location(&location, options),
            None => Self::open(place),
        }
    }

    /// Opens the cache at a location; see [`Self::open_at`].
    pub fn open_location(location: &Location, options: &RemoteOptions) -> Result<Self> {
        let mirror = Arc::new(Mirror::open(location, options)?);
        let path = PathBuf::from(location.join(MANIFEST_FILE));
        let bytes = mirror.manifest()?;
        let folder = Folder::elsewhere(mirror.folder(), Arc::clone(&mirror) as _);
        Self::of(folder, path, &bytes, Some(mirror))
    }

    fn of(folder: Folder, path: PathBuf, bytes: &[u8], mirror: Option<Arc<Mirror>>) -> Result<Self> {
        let manifest: Manifest = json::unseal(&path, bytes)?;
        manifest.check_sizes(&path)?;
        for shard in &manifest.shards {
            let named = std::iter::once(&shard.path).chain(shard.files.iter().map(|file| &file.path));
            if let Some(named) = named.into_iter().find(|named| plain_path(named).is_none()) {
                return Err(StoreError::LeavesFolder { path, named: named.clone() });
            }
        }
        Ok(Self { folder, path, manifest, manifest_blake3: blake3_hex(bytes), mirror })
    }

    /// Logs what was moved to read a cache that is not on this machine.
    pub fn log_traffic(&self) {
        if let Some(Traffic { requests, received, repeated, .. }) = self.traffic() {
            let kept_in = self.folder().display();
            tracing::info!(received, requests, repeated, %kept_in, "bytes of the remote cache were brought");
        }
    }

    /// What was moved to read a remote cache; none for one in a folder.
    pub fn traffic(&self) -> Option<Traffic> {
        self.mirror.as_ref().map(|mirror| mirror.traffic())
    }

    /// Begins to bring what reading a site of the shard at `place` takes, and returns at once. For a cache in a folder,
    /// and for a place after the last, it does nothing; what goes wrong is told by whoever then reads the shard.
    pub fn read_ahead(&self, place: usize, site: &SiteName) {
        if let (Some(mirror), Some(shard)) = (&self.mirror, self.manifest.shards.get(place)) {
            mirror.read_ahead(shard, site);
        }
    }

    /// The cache in `folder` as a manifest has it that is not there, or not yet.
    pub(crate) fn with_manifest(folder: &Path, manifest: Manifest) -> Self {
        let path = folder.join(MANIFEST_FILE);
        Self { folder: Folder::new(folder), path, manifest, manifest_blake3: String::new(), mirror: None }
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// BLAKE3 of the bytes of `manifest.json`: what a result says that it was computed from.
    pub fn manifest_blake3(&self) -> &str {
        &self.manifest_blake3
    }

    /// The folder; of a remote cache, the local one that its files are brought to.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The number of shards that are whole. They need not be numbered without gaps in the plan.
    pub fn shards(&self) -> usize {
        self.manifest.shards.len()
    }

    /// Opens the shard at a place in the manifest's list, from 0.
    pub fn shard(&self, place: usize) -> Result<Shard> {
        let Some(record) = self.manifest.shards.get(place) else {
            let what = format!("{}: shard", self.path.display());
            return Err(StoreError::invalid(what, format!("less than {}", self.shards()), place));
        };
        self.shard_of(record)
    }

    /// Opens the shard of a record, which may be one that the manifest does not list yet.
    pub(crate) fn shard_of(&self, record: &ShardRecord) -> Result<Shard> {
        let contents = self.contents(record)?;
        let folder = self.folder.inner(&self.path, &record.path)?;
        let path = folder.path().join(SHARD_FILE);
        let sequences = read_sequences(&folder, &path, &contents)?;
        Ok(Shard { folder, path, record: record.clone(), contents, sequences })
    }

    /// The shard that holds the sequence with a number, and where it is among that shard's sequences; none if no shard does.
    ///
    /// Plans number their sequences shard by shard, so the first shard looked into is nearly always the right one.
    pub fn find_sequence(&self, id: u64) -> Result<Option<(Shard, usize)>> {
        let mut first = 0_u64;
        let mut likely = Vec::new();
        let mut others = Vec::new();
        for (place, record) in self.manifest.shards.iter().enumerate() {
            let next = first.saturating_add(record.counts.sequences);
            if (first..next).contains(&id) { &mut likely } else { &mut others }.push(place);
            first = next;
        }
        for place in likely.into_iter().chain(others) {
            let shard = self.shard(place)?;
            if let Some(index) = shard.sequences().iter().position(|sequence| sequence.id == id) {
                return Ok(Some((shard, index)));
            }
        }
        Ok(None)
    }

    /// Reads a shard's `shard.json` and checks it against the manifest.
    pub(crate) fn contents(&self, record: &ShardRecord) -> Result<ShardContents> {
        let own = record.files.first().filter(|file| file.path == SHARD_FILE).ok_or_else(|| StoreError::Malformed {
            path: self.path.clone(),
            expected: "shard.json first among a shard's files".to_owned(),
            got: format!("another in {}", record.path),
        })?;
        let folder = self.folder.inner(&self.path, &record.path)?;
        let path = folder.path().join(SHARD_FILE);
        let bytes = folder.file(&self.path, own)?.read_verified(own)?;
        check_contents(&path, &self.manifest, record, &bytes)
    }
}

/// What the `shard.json` at `path` says, whose bytes have the hash that `record` in `manifest` says, if it says the same
/// as these.
pub(crate) fn check_contents(
    path: &Path,
    manifest: &Manifest,
    record: &ShardRecord,
    bytes: &[u8],
) -> Result<ShardContents> {
    let malformed = |expected: &str, got: String| StoreError::Malformed {
        path: path.to_owned(),
        expected: expected.to_owned(),
        got,
    };
    let contents: ShardContents = json::unseal(path, bytes)?;
    check_listing(path, &contents, manifest.format, &record.counts)?;
    if let Some((field, expected, got)) = manifest.settings().difference(&contents.settings) {
        return Err(malformed(&format!("{field} to be the manifest's {expected}"), got));
    }
    if contents.plan_blake3 != manifest.plan_blake3 || contents.index != record.index {
        let got = format!("shard {} of plan {}", contents.index, contents.plan_blake3);
        return Err(malformed(&format!("shard {} of the manifest's plan", record.index), got));
    }
    if !record.files.get(1..).is_some_and(|files| files == contents.files) {
        return Err(malformed("the files that the manifest lists", "others".to_owned()));
    }
    Ok(contents)
}

/// What to do about a folder without a manifest.
fn missing_manifest(folder: &Path) -> StoreError {
    let advice = if let Some(holder) = Lock::current_holder(folder) {
        format!("It is being written by {holder}; the manifest comes with the first whole shard")
    } else if folder.join(PLAN_FILE).exists() {
        "There is a plan, but no shard has been harvested: use `harvest run` on this folder".to_owned()
    } else if folder.is_dir() {
        "Is it a cache? `harvest run` makes one".to_owned()
    } else {
        "There is no such folder".to_owned()
    };
    StoreError::MissingManifest { folder: folder.to_owned(), advice }
}

/// Reads the table of a shard's sequences.
pub(crate) fn read_sequences(folder: &Folder, path: &Path, contents: &ShardContents) -> Result<Vec<Sequence>> {
    // `check_listing` has seen that these are the sequences.
    let record = &contents.files[0];
    let file = folder.file(path, record)?;
    let counts = &contents.counts;
    sequences::read(&file.path, file.read_verified(record)?, counts.sequences, counts.tokens)
}

/// A shard of a cache.
#[derive(Clone, Debug)]
pub struct Shard {
    folder: Folder,
    path: PathBuf,
    record: ShardRecord,
    contents: ShardContents,
    sequences: Vec<Sequence>,
}

impl Shard {
    /// The manifest's record of it.
    pub fn record(&self) -> &ShardRecord {
        &self.record
    }

    /// Its own record, with the sums over its rows.
    pub fn contents(&self) -> &ShardContents {
        &self.contents
    }

    /// Its sequences, in the order their rows are stored.
    pub fn sequences(&self) -> &[Sequence] {
        &self.sequences
    }

    /// Reads the table of its tokens and checks its hash, once for all columns that are wanted of it.
    pub fn token_table(&self) -> Result<ShardTokens<'_>> {
        let record = &self.contents.files[1];
        let file = self.folder.file(&self.path, record)?;
        let bytes = file.read_verified(record)?;
        Ok(ShardTokens { shard: self, path: file.path, bytes })
    }

    /// Its tokens, in the order their rows are stored.
    pub fn tokens(&self) -> Result<Tokens> {
        self.token_table()?.tokens()
    }

    /// The predictions over its rows, if they were kept.
    pub fn predictions(&self) -> Result<Option<Predictions>> {
        match self.contents.settings.predictions {
            Some(_) => self.token_table()?.predictions(),
            None => Ok(None),
        }
    }

    /// The Euclidean norm of each row of a site, `[rows]` f32.
    pub fn norms(&self, site: &SiteName) -> Result<Vec<f32>> {
        self.place(site)?;
        self.token_table()?.norms(site)
    }

    /// Opens a site's activations.
    pub fn activations(&self, site: &SiteName) -> Result<ActivationReader> {
        let place = self.place(site)?;
        open_activations(&self.folder, &self.path, &self.contents, place, &row_group_rows(&self.sequences))
    }

    /// Opens all logits, `[rows, vocab_size]`, if they were kept.
    pub fn logits(&self) -> Result<Option<ActivationReader>> {
        // They follow the sites.
        let place = self.contents.sites.len();
        let rows = row_group_rows(&self.sequences);
        let open = || open_activations(&self.folder, &self.path, &self.contents, place, &rows);
        self.contents.logits.as_ref().map(|_| open()).transpose()
    }

    fn place(&self, site: &SiteName) -> Result<usize> {
        let settings = &self.contents.settings;
        settings.sites.iter().position(|name| name == site).ok_or_else(|| StoreError::UnknownSite {
            folder: self.folder.path().to_owned(),
            site: site.to_string(),
            available: settings.sites_in_words(),
        })
    }
}

/// The table of a shard's tokens, in memory and checked. Its columns are decoded as they are asked for.
#[derive(Debug)]
pub struct ShardTokens<'shard> {
    shard: &'shard Shard,
    path: PathBuf,
    bytes: Bytes,
}

impl ShardTokens<'_> {
    /// The tokens, in the order their rows are stored.
    pub fn tokens(&self) -> Result<Tokens> {
        tokens::read(&self.path, self.bytes.clone(), self.rows(), &self.shard.sequences)
    }

    /// The predictions, if they were kept.
    pub fn predictions(&self) -> Result<Option<Predictions>> {
        let kept = self.shard.contents.settings.predictions;
        kept.map(|kept| prediction_columns::read(&self.path, self.bytes.clone(), self.rows(), kept)).transpose()
    }

    /// The predictions without the largest logits, which take most of the table: as if the cache kept none.
    pub fn predictions_without_top(&self) -> Result<Option<Predictions>> {
        let kept = self.shard.contents.settings.predictions.map(|kept| KeptPredictions { top_k: 0, ..kept });
        kept.map(|kept| prediction_columns::read(&self.path, self.bytes.clone(), self.rows(), kept)).transpose()
    }

    /// The Euclidean norm of each row of a site, `[rows]` f32.
    pub fn norms(&self, site: &SiteName) -> Result<Vec<f32>> {
        self.shard.place(site)?;
        prediction_columns::read_norms(&self.path, self.bytes.clone(), self.rows(), site)
    }

    fn rows(&self) -> u64 {
        self.shard.contents.counts.tokens
    }
}

/// Opens the activations of the site at `place` in a shard's list; after the last, all logits, if they are kept.
pub(crate) fn open_activations(
    folder: &Folder,
    path: &Path,
    contents: &ShardContents,
    place: usize,
    row_group_rows: &[u64],
) -> Result<ActivationReader> {
    let settings = &contents.settings;
    let named = contents.sites.get(place);
    let named = named.map(|site| (site.name.clone(), settings.width(&site.name), &site.footer_blake3));
    let logits = contents.logits.as_ref();
    let named = named.or(logits.map(|logits| (SiteName::logits(), settings.model.vocab_size, &logits.footer_blake3)));
    // The files of the sites follow the two tables, in the same order, and that of the logits follows them.
    let Some((record, (site, d_model, footer_blake3))) = contents.files.get(2 + place).zip(named) else {
        return Err(StoreError::invalid(path.display(), format!("less than {} sites", contents.sites.len()), place));
    };
    let file = folder.file(path, record)?;
    let (file, mapped) = (file.path.clone(), file.map_sized(record)?);
    let layout = Layout { site, dtype: settings.dtype, codec: settings.codec, d_model };
    ActivationReader::open(file, mapped, layout, footer_blake3, row_group_rows)
}
