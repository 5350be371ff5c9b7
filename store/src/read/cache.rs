//! Reading a cache.

use std::path::{Path, PathBuf};
#[cfg(feature = "remote")]
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Result, StoreError, is_elsewhere};
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
#[cfg(feature = "remote")]
use crate::remote::{Location, Mirror, RemoteOptions, Traffic};

/// A cache opened for reading. It is a snapshot of the manifest at that time; the cache may still be growing.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: Folder,
    path: PathBuf,
    manifest: Manifest,
    manifest_blake3: String,
    /// The source of the files of a remote cache.
    #[cfg(feature = "remote")]
    mirror: Option<Arc<Mirror>>,
}

impl Cache {
    /// Opens the cache in `folder` by reading its manifest.
    ///
    /// # Errors
    /// [`StoreError::MissingManifest`] with advice on what the folder appears to be, [`StoreError::Version`],
    /// [`StoreError::Damaged`], [`StoreError::LeavesFolder`] if a recorded path leaves the folder.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let path = folder.join(MANIFEST_FILE);
        if !path.exists() {
            return Err(missing_manifest(folder));
        }
        let path = Folder::new(folder).locate(folder, MANIFEST_FILE)?;
        let bytes = json::read(&path)?;
        Self::of(Folder::new(folder), path, &bytes)
    }

    fn of(folder: Folder, path: PathBuf, bytes: &[u8]) -> Result<Self> {
        let manifest: Manifest = json::unseal(&path, bytes)?;
        manifest.check_sizes(&path)?;
        for shard in &manifest.shards {
            let named = std::iter::once(&shard.path).chain(shard.files.iter().map(|file| &file.path));
            if let Some(named) = named.into_iter().find(|named| plain_path(named).is_none()) {
                return Err(StoreError::LeavesFolder { path, named: named.clone() });
            }
        }
        Ok(Self {
            folder,
            path,
            manifest,
            manifest_blake3: blake3_hex(bytes),
            #[cfg(feature = "remote")]
            mirror: None,
        })
    }

    /// Creates the cache in `folder` with a manifest that is not on disk.
    pub(crate) fn with_manifest(folder: &Path, manifest: Manifest) -> Self {
        let path = folder.join(MANIFEST_FILE);
        Self {
            folder: Folder::new(folder),
            path,
            manifest,
            manifest_blake3: String::new(),
            #[cfg(feature = "remote")]
            mirror: None,
        }
    }

    /// Returns the manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the BLAKE3 of `manifest.json`, which results record as their source.
    pub fn manifest_blake3(&self) -> &str {
        &self.manifest_blake3
    }

    /// Returns the cache folder; for a remote cache, the local folder of fetched files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the number of complete shards. Their numbers in the plan may have gaps.
    pub fn shards(&self) -> usize {
        self.manifest.shards.len()
    }

    /// Opens the shard at an index into the manifest's list, from 0.
    pub fn shard(&self, place: usize) -> Result<Shard> {
        let Some(record) = self.manifest.shards.get(place) else {
            let what = format!("{}: shard", self.path.display());
            return Err(StoreError::invalid(what, format!("less than {}", self.shards()), place));
        };
        self.shard_of(record)
    }

    /// Opens the shard of a record, which the manifest need not list.
    pub(crate) fn shard_of(&self, record: &ShardRecord) -> Result<Shard> {
        let contents = self.contents(record)?;
        let folder = self.folder.inner(&self.path, &record.path)?;
        let path = folder.path().join(SHARD_FILE);
        let sequences = read_sequences(&folder, &path, &contents)?;
        Ok(Shard { folder, path, record: record.clone(), contents, sequences })
    }

    /// Finds a sequence by its id. Returns its shard and its index among the shard's sequences; none if no shard has
    /// it.
    ///
    /// Plans number sequences shard by shard, so the first shard searched is nearly always the right one.
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

#[cfg(feature = "remote")]
impl Cache {
    /// Opens a cache in a folder or at a [`Location`]. Of a remote cache, only the manifest is fetched. Other files are
    /// fetched on demand, verified by BLAKE3 and kept in a local folder of bounded size with LRU eviction.
    ///
    /// # Errors
    /// As [`Self::open`], and [`StoreError::Remote`] if the remote does not answer or has no manifest.
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
        Ok(Self { mirror: Some(mirror), ..Self::of(folder, path, &bytes)? })
    }

    /// Logs the traffic of a remote cache.
    pub fn log_traffic(&self) {
        if let Some(Traffic { requests, received, repeated, .. }) = self.traffic() {
            let kept_in = self.folder().display();
            tracing::info!(received, requests, repeated, %kept_in, "bytes of the remote cache were brought");
        }
    }

    /// Returns the traffic of a remote cache; none for a local one.
    pub fn traffic(&self) -> Option<Traffic> {
        self.mirror.as_ref().map(|mirror| mirror.traffic())
    }

    /// Starts prefetching the files needed to read a site of the shard at `place`, and returns at once. Does nothing
    /// for a local cache or a `place` out of range. Errors are reported by the read itself.
    pub fn read_ahead(&self, place: usize, site: &SiteName) {
        if let (Some(mirror), Some(shard)) = (&self.mirror, self.manifest.shards.get(place)) {
            mirror.read_ahead(shard, site);
        }
    }
}

/// Parses the `shard.json` at `path`, whose `bytes` match the hash in `record`, and checks it against the manifest.
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
    check_listing(path, &contents, &record.counts)?;
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

/// Returns the error for a folder without a manifest, with advice.
fn missing_manifest(folder: &Path) -> StoreError {
    let advice = if is_elsewhere(folder) {
        "It is a location, not a folder: `Cache::open_at` opens one (feature `remote`)".to_owned()
    } else if let Some(holder) = Lock::current_holder(folder) {
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

pub(crate) fn read_sequences(folder: &Folder, path: &Path, contents: &ShardContents) -> Result<Vec<Sequence>> {
    // `check_listing` has verified that this is the sequence table.
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
    /// Returns the manifest's record of the shard.
    pub fn record(&self) -> &ShardRecord {
        &self.record
    }

    /// Returns the contents of `shard.json`, with the sums over the shard's rows.
    pub fn contents(&self) -> &ShardContents {
        &self.contents
    }

    /// Returns the sequences, in storage order.
    pub fn sequences(&self) -> &[Sequence] {
        &self.sequences
    }

    /// Returns the first row of each row group, and the end of the last.
    pub fn row_group_bounds(&self) -> Vec<usize> {
        let mut bounds = vec![0_usize];
        for rows in row_group_rows(&self.sequences) {
            bounds.push(bounds[bounds.len() - 1].saturating_add(usize::try_from(rows).unwrap_or(usize::MAX)));
        }
        bounds
    }

    /// Reads and verifies the token table, so that several columns can be decoded from one read.
    pub fn token_table(&self) -> Result<ShardTokens<'_>> {
        let record = &self.contents.files[1];
        let file = self.folder.file(&self.path, record)?;
        let bytes = file.read_verified(record)?;
        Ok(ShardTokens { shard: self, path: file.path, bytes })
    }

    /// Reads the tokens, in storage order.
    pub fn tokens(&self) -> Result<Tokens> {
        self.token_table()?.tokens()
    }

    /// Reads the predictions, if stored.
    pub fn predictions(&self) -> Result<Option<Predictions>> {
        match self.contents.settings.predictions {
            Some(_) => self.token_table()?.predictions(),
            None => Ok(None),
        }
    }

    /// Reads the Euclidean norm of each row of a site, `[rows]` f32.
    pub fn norms(&self, site: &SiteName) -> Result<Vec<f32>> {
        self.place(site)?;
        self.token_table()?.norms(site)
    }

    /// Opens a site's activations.
    pub fn activations(&self, site: &SiteName) -> Result<ActivationReader> {
        let place = self.place(site)?;
        open_activations(&self.folder, &self.path, &self.contents, place, &row_group_rows(&self.sequences))
    }

    /// Opens the full logits, `[rows, vocab_size]`, if stored.
    pub fn logits(&self) -> Result<Option<ActivationReader>> {
        // Logits follow the sites.
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

/// A shard's token table, verified and in memory. Columns are decoded on demand.
#[derive(Debug)]
pub struct ShardTokens<'shard> {
    shard: &'shard Shard,
    path: PathBuf,
    bytes: Bytes,
}

impl ShardTokens<'_> {
    /// Decodes the tokens, in storage order.
    pub fn tokens(&self) -> Result<Tokens> {
        tokens::read(&self.path, self.bytes.clone(), self.rows(), &self.shard.sequences)
    }

    /// Decodes the predictions, if stored.
    pub fn predictions(&self) -> Result<Option<Predictions>> {
        let kept = self.shard.contents.settings.predictions;
        kept.map(|kept| prediction_columns::read(&self.path, self.bytes.clone(), self.rows(), kept)).transpose()
    }

    /// Decodes the predictions without the top logits, which take most of the table.
    pub fn predictions_without_top(&self) -> Result<Option<Predictions>> {
        let kept = self.shard.contents.settings.predictions.map(|kept| KeptPredictions { top_k: 0, ..kept });
        kept.map(|kept| prediction_columns::read(&self.path, self.bytes.clone(), self.rows(), kept)).transpose()
    }

    /// Decodes the Euclidean norm of each row of a site, `[rows]` f32.
    pub fn norms(&self, site: &SiteName) -> Result<Vec<f32>> {
        self.shard.place(site)?;
        prediction_columns::read_norms(&self.path, self.bytes.clone(), self.rows(), site)
    }

    fn rows(&self) -> u64 {
        self.shard.contents.counts.tokens
    }
}

/// Opens the activations of the site at index `place`. The index after the last site is that of the full logits, if
/// stored.
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
    // The files are the two tables, the sites in the same order, and the logits.
    let Some((record, (site, d_model, footer_blake3))) = contents.files.get(2 + place).zip(named) else {
        return Err(StoreError::invalid(path.display(), format!("less than {} sites", contents.sites.len()), place));
    };
    let file = folder.file(path, record)?;
    let (file, mapped) = (file.path.clone(), file.map_sized(record)?);
    let layout = Layout { site, dtype: settings.dtype, codec: settings.codec, d_model };
    ActivationReader::open(file, mapped, layout, footer_blake3, row_group_rows)
}
