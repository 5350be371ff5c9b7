//! Checks every hash and checksum of a cache.

use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;

use crate::error::{Result, StoreError};
use crate::format::activations::reader::ActivationReader;
use crate::format::group_sums;
use crate::format::manifest::MANIFEST_FILE;
use crate::format::plan::{PLAN_FILE, PlanReader};
use crate::format::records::{FileRecord, ShardRecord};
use crate::format::shard_record::{SHARD_FILE, ShardContents, WrittenShard};
use crate::format::tables::prediction_columns;
use crate::format::tables::predictions::Predictions;
use crate::format::tables::sequences::row_group_rows;
use crate::format::tables::tokens::{self, Tokens};
use crate::format::totals::Totals;
use crate::fs::folder::Folder;
use crate::fs::hash::{check_file, read_verified};
use crate::read::cache::{Cache, open_activations, read_sequences};

/// The result of [`verify`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Files checked.
    pub files: u64,
    /// Their bytes, as recorded.
    pub bytes: u64,
    /// Activation row groups decoded and checked.
    pub row_groups: u64,
    /// The damage, in the order found.
    pub damages: Vec<Damage>,
}

/// Damage to a cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// The file, relative to the cache's folder.
    pub file: String,
    /// The damaged row group, if it is in one.
    pub row_group: Option<usize>,
    /// The damaged column, if it is in one.
    pub column: Option<String>,
    /// A description of the problem and what to do.
    pub problem: String,
}

/// The progress of [`verify`].
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Bytes checked so far.
    pub bytes: u64,
    /// Bytes in total.
    pub total_bytes: u64,
    /// The next file, relative to the cache's folder.
    pub file: &'a str,
}

/// Checks every file that the manifest in `folder` covers: its size and BLAKE3, the checksums of the plan and the
/// manifest, the tables' contents, each row group's XXH3, and the manifest's sums. Continues after damage.
///
/// # Errors
/// Only if there is nothing to check: no manifest, or one of another version.
pub fn verify(folder: impl AsRef<Path>, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Report> {
    let folder = folder.as_ref();
    let cache = match Cache::open(folder) {
        Ok(cache) => cache,
        Err(error @ (StoreError::MissingManifest { .. } | StoreError::Version { .. })) => return Err(error),
        Err(error) => {
            let mut report = Report { files: 1, ..Report::default() };
            report.note(MANIFEST_FILE, &error);
            return Ok(report);
        }
    };
    let plan = plan_of(&cache);
    let in_plan = plan.iter().flat_map(|plan| &plan.plan().shards).flat_map(|shard| &shard.files);
    let in_shards = cache.manifest().shards.iter().flat_map(|shard| &shard.files);
    let total_bytes = in_plan.chain(in_shards).fold(0, |sum: u64, file| sum.saturating_add(file.bytes));
    let mut walk = Walk { cache: &cache, report: Report::default(), total_bytes, progress };
    // Opening the manifest has checked it.
    walk.report.files += 1;
    walk.check_plan(plan);
    walk.check_shards();
    Ok(walk.report)
}

/// Opens the plan of a cache. It must match the hash in the manifest.
pub(crate) fn plan_of(cache: &Cache) -> Result<PlanReader> {
    let plan = PlanReader::open(cache.folder())?;
    let expected = &cache.manifest().plan_blake3;
    if plan.blake3() == expected {
        return Ok(plan);
    }
    let path = cache.folder().join(PLAN_FILE);
    Err(StoreError::damaged(&path, format!("BLAKE3 {expected} by the manifest"), plan.blake3()))
}

/// Like `verify`, for the shards of a cache and the sums over them only.
pub(crate) fn verify_shards(cache: &Cache, progress: &mut dyn FnMut(Progress<'_>)) -> Report {
    let in_shards = cache.manifest().shards.iter().flat_map(|shard| &shard.files);
    let total_bytes = in_shards.fold(0, |sum: u64, file| sum.saturating_add(file.bytes));
    let mut walk = Walk { cache, report: Report::default(), total_bytes, progress };
    walk.check_shards();
    walk.report
}

struct Walk<'a> {
    cache: &'a Cache,
    report: Report,
    total_bytes: u64,
    progress: &'a mut dyn FnMut(Progress<'_>),
}

impl Report {
    /// Records an error found in `file`.
    fn note(&mut self, file: &str, error: &StoreError) {
        let (row_group, column) = match error {
            StoreError::Damaged { row_group, column, .. } => (*row_group, column.clone()),
            _ => (None, None),
        };
        self.damages.push(Damage { file: file.to_owned(), row_group, column, problem: error.to_string() });
    }
}

impl Walk<'_> {
    fn begin(&mut self, file: &str) {
        (self.progress)(Progress { bytes: self.report.bytes, total_bytes: self.total_bytes, file });
    }

    /// Counts a checked file and records its error.
    fn end(&mut self, file: &str, bytes: u64, checked: &Result<()>) {
        self.report.files += 1;
        self.report.bytes = self.report.bytes.saturating_add(bytes);
        if let Err(error) = checked {
            self.report.note(file, error);
        }
        self.begin(file);
    }

    fn check_plan(&mut self, plan: Result<PlanReader>) {
        self.begin(PLAN_FILE);
        let plan = match plan {
            Ok(plan) => plan,
            Err(error) => return self.end(PLAN_FILE, 0, &Err(error)),
        };
        self.end(PLAN_FILE, 0, &Ok(()));
        for (index, shard) in plan.plan().shards.iter().enumerate() {
            // Reading a table checks its hash. Reading the tokens reads the sequences first.
            let sequences = plan.sequences(index).map(|_| ());
            let tokens = if sequences.is_ok() {
                plan.sequences_and_tokens(index).map(|_| ())
            } else {
                plan.file(index, 1).and_then(|(path, record)| read_verified(&path, record)).map(|_| ())
            };
            for (record, checked) in shard.files.iter().zip([sequences, tokens]) {
                self.end(&record.path, record.bytes, &checked);
            }
        }
    }

    fn check_shards(&mut self) {
        let mut totals = Totals::new(&self.cache.manifest().settings());
        let mut all_read = true;
        for record in &self.cache.manifest().shards {
            let name = format!("{}/{SHARD_FILE}", record.path);
            let bytes = record.files.first().map_or(0, |file| file.bytes);
            self.begin(&name);
            match self.cache.contents(record) {
                Ok(contents) => {
                    self.end(&name, bytes, &Ok(()));
                    self.check_shard(record, &contents);
                    totals.add(&WrittenShard { contents, record: record.clone() });
                }
                Err(error) => {
                    self.end(&name, bytes, &Err(error));
                    all_read = false;
                }
            }
        }
        if all_read {
            self.check_sums(&totals);
        }
    }

    /// Checks the manifest's means against the shards.
    fn check_sums(&mut self, totals: &Totals) {
        let manifest = self.cache.manifest();
        let sites = totals.sites(&manifest.settings());
        let differing = sites.iter().zip(&manifest.sites).find(|(expected, got)| expected != got);
        if totals.statistics() != manifest.statistics {
            let path = self.cache.folder().join(MANIFEST_FILE);
            self.report.note(MANIFEST_FILE, &StoreError::damaged(&path, "the statistics of the shards", "others"));
        }
        if let Some((expected, got)) = differing {
            let path = self.cache.folder().join(MANIFEST_FILE);
            let in_words = |mean_norm: f64, rows: u64| format!("mean norm {mean_norm} of {rows} rows");
            let error = StoreError::damaged(
                &path,
                format!("{} from the shards for {}", in_words(expected.mean_norm, expected.rows), expected.name),
                in_words(got.mean_norm, got.rows),
            );
            self.report.note(MANIFEST_FILE, &error);
        }
    }

    fn check_shard(&mut self, record: &ShardRecord, contents: &ShardContents) {
        let folder = Folder::new(self.cache.folder().join(&record.path));
        let path = folder.path().join(SHARD_FILE);
        let named = |file: &FileRecord| format!("{}/{}", record.path, file.path);
        let [sequences_file, tokens_file, site_files @ ..] = contents.files.as_slice() else {
            return;
        };

        self.begin(&named(sequences_file));
        let sequences = read_sequences(&folder, &path, contents);
        let rows = sequences.as_ref().ok().map(|sequences| row_group_rows(sequences));
        let checked = sequences.as_ref().map(|_| ()).map_err(repeat);
        self.end(&named(sequences_file), sequences_file.bytes, &checked);

        self.begin(&named(tokens_file));
        let checked = folder.locate(&path, &tokens_file.path).and_then(|file| {
            let bytes = read_verified(&file, tokens_file)?;
            let rows = contents.counts.tokens;
            let kept = contents.settings.predictions;
            let predictions =
                kept.map(|kept| prediction_columns::read(&file, bytes.clone(), rows, kept)).transpose()?;
            let sites = &contents.settings.sites;
            let norms = sites.iter().map(|site| prediction_columns::read_norms(&file, bytes.clone(), rows, site));
            let norms = norms.collect::<Result<Vec<_>>>()?;
            if let Ok(sequences) = &sequences {
                let tokens = tokens::read(&file, bytes, rows, sequences)?;
                check_statistics(&path, contents, &tokens, predictions.as_ref(), &norms)?;
            }
            Ok(())
        });
        self.end(&named(tokens_file), tokens_file.bytes, &checked);

        for (place, file) in site_files.iter().enumerate() {
            self.begin(&named(file));
            let whole = folder.locate(&path, &file.path).and_then(|path| check_file(&path, file));
            let opened = rows.as_deref().map(|rows| open_activations(&folder, &path, contents, place, rows));
            let damages = match &opened {
                Some(Ok(reader)) => self.check_row_groups(reader),
                Some(Err(error)) => vec![repeat(error)],
                // Without the sequences the row groups are unknown; the file's hash is still checked.
                None => Vec::new(),
            };
            for damage in &damages {
                self.report.note(&named(file), damage);
            }
            // The file's hash adds nothing if the damage has been located.
            let checked = if damages.is_empty() { whole } else { Ok(()) };
            self.end(&named(file), file.bytes, &checked);
        }
    }

    fn check_row_groups(&mut self, reader: &ActivationReader) -> Vec<StoreError> {
        self.report.row_groups += reader.row_groups() as u64;
        (0..reader.row_groups())
            .into_par_iter()
            .map_init(Vec::new, |bits, row_group| reader.read(row_group, bits).err())
            .flatten()
            .collect()
    }
}

/// Checks a shard's sums over sections and subsets against its tokens.
fn check_statistics(
    path: &Path,
    contents: &ShardContents,
    tokens: &Tokens,
    predictions: Option<&Predictions>,
    norms: &[Vec<f32>],
) -> Result<()> {
    let norms: Vec<&[f32]> = norms.iter().map(Vec::as_slice).collect();
    let expected = group_sums::of_shard(tokens, predictions, &contents.settings.sites, &norms);
    if contents.statistics == expected {
        return Ok(());
    }
    Err(StoreError::damaged(path, "the statistics of the shard's tokens", "others"))
}

/// Copies an error. One other than damage becomes a description, since an I/O error cannot be cloned.
fn repeat(error: &StoreError) -> StoreError {
    match error {
        StoreError::Damaged { path, row_group, column, expected, got } => StoreError::Damaged {
            path: path.clone(),
            row_group: *row_group,
            column: column.clone(),
            expected: expected.clone(),
            got: got.clone(),
        },
        other => StoreError::invalid("file", "one that can be read", other),
    }
}
