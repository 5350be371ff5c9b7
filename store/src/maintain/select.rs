//! Creates a cache from part of another: some of its sites, shards, or sequences.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::error::{Result, StoreError, joined};
use crate::format::manifest::Manifest;
use crate::format::narrowing::{narrowed_settings, narrowed_shard};
use crate::format::plan::PlanWriter;
use crate::format::records::{Corpus, SelectedFrom};
use crate::format::section::Section;
use crate::format::settings::{Existing, HarvestSettings, NonFinite};
use crate::format::shard_record::SHARD_FILE;
use crate::format::site::SiteName;
use crate::fs::disk::Disk;
use crate::fs::machine::machine;
use crate::fs::staged::{StagedFolder, create_folders, write_file};
use crate::maintain::destination::{check_apart, place_plan};
use crate::maintain::gather::{self, Source};
use crate::maintain::holding::{Holding, home};
use crate::maintain::number_range::NumberRange;
use crate::maintain::picking::{ShardPieces, Wanted, write_plan};
use crate::maintain::placing::{Files, Placed, Placing, bytes_of, restage};
use crate::read::verify::Progress;
use crate::write::cache_writer::CacheWriter;

/// The part of a cache to keep. Fields that are not set do not restrict it; all restrictions apply together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// These sites.
    pub sites: Vec<SiteName>,
    /// Shards with these indices in the plan.
    pub shards: Option<NumberRange>,
    /// Sequences with a token in one of these sections.
    pub sections: Vec<Section>,
    /// Sequences with a token in one of these subsets; with `sections`, the same token.
    pub subsets: Vec<String>,
    /// Sequences with these ids.
    pub sequences: Option<NumberRange>,
}

/// The result of [`select`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Selected {
    /// Shards in the new cache.
    pub shards: usize,
    /// Its sequences.
    pub sequences: u64,
    /// Its tokens.
    pub tokens: u64,
    /// Its sites.
    pub sites: Vec<SiteName>,
    /// Whether it has a new plan rather than that of the source.
    pub new_plan: bool,
    /// How the unchanged files were placed.
    pub placed: Placed,
}

/// Creates a new cache `out` from a part of the cache in `folder`.
///
/// **Sites and shards** alone keep the plan, and files are placed unchanged. Shards left out can later be harvested
/// into the new cache, or merged in.
///
/// **Sections, subsets and sequences** pick whole sequences, so that a token keeps the context its activations were
/// computed from. The new cache has a new plan with the same sequence ids and documents, which records its source
/// (`corpus.selected_from`). Activations, predictions and logits are copied bit for bit, in the same type and codec;
/// sums cover the kept tokens. A lossy codec is rejected, because encoding again would change the values.
///
/// The new cache appears atomically.
///
/// # Errors
/// [`StoreError::Invalid`] if nothing is requested or nothing matches, or if `out` exists; [`StoreError::UnknownSite`];
/// [`StoreError::Damaged`] if a checksum does not match.
pub fn select(
    folder: &Path,
    out: &Path,
    selection: &Selection,
    files: Files,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Selected> {
    select_on(&machine(), folder, out, selection, files, progress)
}

pub(super) fn select_on(
    disk: &Arc<dyn Disk>,
    folder: &Path,
    out: &Path,
    selection: &Selection,
    files: Files,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Selected> {
    if *selection == Selection::default() {
        let expected = "--site, --shards, --section, --subset or --sequences";
        return Err(StoreError::invalid("what to select", expected, "none of them"));
    }
    check_apart(out, &[folder.to_owned()])?;
    if out.exists() {
        return Err(StoreError::invalid("the new cache's folder", "one that is not there yet", out.display()));
    }
    let from = Holding::open(folder)?;
    let settings = narrowed_settings(folder, &from.settings, &selection.sites)?;
    selection.check_known(&from)?;
    let shards: Vec<usize> = from.shards.keys().copied().filter(|index| selection.has_shard(*index)).collect();
    if shards.is_empty() {
        return Err(selection.nothing(&from, "none of its shards"));
    }
    create_folders(disk.as_ref(), out.parent().unwrap_or(Path::new(".")))?;
    let staged = restage(disk, out.to_owned())?;
    let job = Job { disk, from: &from, settings, shards, selection };
    let (manifest, placed) = if selection.picks_sequences() {
        (job.pick_sequences(&staged, progress)?, Placed::default())
    } else {
        job.place_shards(&staged, files, progress)?
    };
    staged.commit()?;
    Ok(Selected {
        shards: manifest.shards.len(),
        sequences: manifest.held.sequences,
        tokens: manifest.held.tokens,
        sites: manifest.settings().sites,
        new_plan: selection.picks_sequences(),
        placed,
    })
}

impl Selection {
    fn picks_sequences(&self) -> bool {
        !self.sections.is_empty() || !self.subsets.is_empty() || self.sequences.is_some()
    }

    fn has_shard(&self, index: usize) -> bool {
        self.shards.is_none_or(|shards| shards.contains(index as u64))
    }

    /// Checks that every section and subset requested by name has tokens, to catch typing errors.
    fn check_known(&self, from: &Holding) -> Result<()> {
        let held = &from.cache.manifest().held;
        let cache = from.folder().display();
        for section in &self.sections {
            if !held.sections.contains_key(section) {
                return Err(StoreError::invalid(format!("{cache}: section"), joined(held.sections.keys()), section));
            }
        }
        for subset in &self.subsets {
            if !held.subsets.contains_key(subset) {
                let known = match joined(held.subsets.keys()) {
                    known if known.is_empty() => "none, as its tokens have none".to_owned(),
                    known => known,
                };
                return Err(StoreError::invalid(format!("{cache}: subset"), known, subset));
            }
        }
        Ok(())
    }

    fn nothing(&self, from: &Holding, got: &str) -> StoreError {
        let what = format!("{}: selection {}", from.folder().display(), self.in_words());
        StoreError::invalid(what, "something that the cache holds", got)
    }

    /// The selection except the sites, as on the command line.
    fn in_words(&self) -> String {
        let shards = self.shards.map(|shards| format!("--shards {shards}"));
        let sections = self.sections.iter().map(|section| format!("--section {section}"));
        let subsets = self.subsets.iter().map(|subset| format!("--subset {subset:?}"));
        let sequences = self.sequences.map(|sequences| format!("--sequences {sequences}"));
        shards.into_iter().chain(sections).chain(subsets).chain(sequences).collect::<Vec<_>>().join(" ")
    }
}

struct Job<'a> {
    disk: &'a Arc<dyn Disk>,
    from: &'a Holding,
    settings: HarvestSettings,
    shards: Vec<usize>,
    selection: &'a Selection,
}

impl Job<'_> {
    fn writer(&self, folder: &Path, existing: Existing) -> Result<CacheWriter> {
        CacheWriter::open_on(Arc::clone(self.disk), folder, self.settings.clone(), NonFinite::Allow, existing)
    }

    /// Selects shards, with all or some of their sites: unchanged files under new records.
    fn place_shards(
        &self,
        staged: &StagedFolder,
        files: Files,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(Manifest, Placed)> {
        let out = staged.path();
        let total_bytes = bytes_of(self.shards.iter().map(|index| &self.from.shards[index]));
        let mut placing = Placing::new(self.disk, files, total_bytes, progress);
        place_plan(&mut placing, self.from, out, Existing::Refuse)?;
        let mut writer = self.writer(out, Existing::Refuse)?;
        for index in &self.shards {
            let shard = &self.from.shards[index];
            let folder = restage(self.disk, out.join(home(*index)))?;
            let path = folder.file(SHARD_FILE);
            let (narrowed, bytes) = narrowed_shard(&path, &shard.contents, &self.settings)?;
            for file in &narrowed.contents.files {
                placing.place(&self.from.locate(shard, file)?, file, &folder.file(&file.path))?;
            }
            write_file(self.disk.as_ref(), &path, &bytes)?;
            folder.commit()?;
            writer.record(narrowed)?;
        }
        Ok((writer.finish()?, placing.placed))
    }

    /// Selects sequences, under a new plan.
    fn pick_sequences(&self, staged: &StagedFolder, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Manifest> {
        if self.settings.codec.is_lossy() {
            let what = format!("{}: codec of a cache to select sequences from", self.from.folder().display());
            return Err(StoreError::invalid(
                what,
                "a codec that keeps every bit, as planes or raw",
                self.settings.codec,
            ));
        }
        let out: PathBuf = staged.path().to_owned();
        let selection = self.selection;
        let wanted = Wanted {
            sections: &selection.sections,
            subsets: &selection.subsets,
            sequences: selection.sequences.unwrap_or_default(),
        };
        let mut plan = PlanWriter::create_on(Arc::clone(self.disk), &out)?;
        let pieces = write_plan(&mut plan, self.from, &self.shards, &wanted)?;
        if pieces.is_empty() {
            return Err(selection.nothing(self.from, "no sequence of that kind"));
        }
        let planned = plan.finish(self.corpus())?;
        let mut writer = self.writer(&out, Existing::Refuse)?;
        let mut done = 0;
        let row_bytes = self.row_bytes();
        let total_bytes = planned.counts.tokens * row_bytes;
        for (index, pieces) in pieces.iter().enumerate() {
            self.copy_shard(&mut writer, index, pieces)?;
            done += planned.shards[index].counts.tokens * row_bytes;
            progress(Progress { bytes: done, total_bytes, file: &home(index) });
        }
        writer.finish()
    }

    /// Size of a token's activations at all sites and its full logits, in bytes.
    fn row_bytes(&self) -> u64 {
        let settings = &self.settings;
        let logits =
            if settings.predictions.is_some_and(|kept| kept.full_logits) { settings.model.vocab_size } else { 0 };
        let widths: usize = settings.sites.iter().map(|site| settings.width(site)).sum();
        ((widths + logits) * settings.dtype.bytes()) as u64
    }

    fn copy_shard(&self, writer: &mut CacheWriter, index: usize, pieces: &ShardPieces) -> Result<()> {
        let mut shard = writer.begin_shard(index)?;
        for site in &self.settings.sites {
            gather::words(self.from, Source::Site(site), pieces, |words| shard.write_activations(site, words))?;
        }
        if self.settings.predictions.is_some_and(|kept| kept.full_logits) {
            gather::words(self.from, Source::Logits, pieces, |words| shard.write_logits(words))?;
        }
        let written = shard.finish(gather::predictions(self.from, pieces)?)?;
        writer.record(written)
    }

    fn corpus(&self) -> Corpus {
        let mut corpus = self.from.plan.plan().corpus.clone();
        corpus
            .selected_from
            .push(SelectedFrom { plan_blake3: self.from.plan.blake3().to_owned(), what: self.selection.in_words() });
        corpus
    }
}
