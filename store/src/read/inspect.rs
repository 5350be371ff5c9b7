//! A cache in one screen's worth of facts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hayloft_runtime::Dtype;
use serde::Serialize;

use crate::codec::Codec;
use crate::error::Result;
use crate::format::group_sums::{self, GroupSums};
use crate::format::manifest::Manifest;
use crate::format::plan::{SEQUENCES_FILE, TOKENS_FILE};
use crate::format::records::{Corpus, Counts, KeptPredictions, ModelRecord};
use crate::format::section::Section;
use crate::format::shard_record::SHARD_FILE;
use crate::format::site::SiteName;
use crate::fs::lock::Lock;
use crate::read::cache::Cache;
use crate::remote::RemoteOptions;

/// What [`inspect`] finds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The cache's folder.
    pub folder: PathBuf,
    /// BLAKE3 of its `manifest.json`.
    pub manifest_blake3: String,
    /// The format's version.
    pub format: u32,
    /// The program that wrote it.
    pub generator: String,
    /// Who is writing to it at the moment, if anyone.
    pub being_written_by: Option<String>,
    /// The model.
    pub model: ModelRecord,
    /// What the tokens are.
    pub corpus: Corpus,
    /// The predictions that are kept.
    pub predictions: Option<KeptPredictions>,
    /// Tokens with a next one whose loss is NaN or infinite, and so in no count or mean; null where that is not known.
    pub non_finite_losses: Option<u64>,
    /// The type that activations are stored in.
    pub dtype: Dtype,
    /// How they are stored.
    pub codec: Codec,
    /// Shards planned.
    pub planned_shards: usize,
    /// Shards that are whole.
    pub whole_shards: usize,
    /// How much is planned.
    pub planned: Counts,
    /// How much is here.
    pub held: Counts,
    /// The sites.
    pub sites: Vec<SiteSummary>,
    /// By section and subset; null in a cache of format version 1, which `store upgrade` adds them to.
    pub statistics: Option<StatisticsSummary>,
    /// Bytes of the files of all whole shards.
    pub bytes: u64,
    /// Bytes of their tables: tokens, predictions, sequences and records.
    pub table_bytes: u64,
    /// `bytes` over the tokens here; null if there are none.
    pub bytes_per_token: Option<f64>,
    /// Bytes of all activations as plain words over the bytes that they take; null if there are none.
    pub ratio_to_raw: Option<f64>,
}

/// A site in a [`Summary`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SiteSummary {
    /// The site.
    pub name: SiteName,
    /// Elements of a row.
    pub d_model: usize,
    /// Rows.
    pub rows: u64,
    /// Rows with a NaN or infinite element.
    pub non_finite_rows: u64,
    /// Mean Euclidean norm of the other rows; null if there are none.
    pub mean_norm: Option<f64>,
    /// The scale c that brings it to sqrt(`d_model`); null if no row is finite and non-zero.
    pub scale: Option<f64>,
    /// The norm of all that the codec has rounded away over the norm of all activations; null for one that is lossless.
    pub relative_rounding_error: Option<f64>,
    /// Bytes of its files.
    pub bytes: u64,
}

/// What is known of the tokens of each section and subset.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StatisticsSummary {
    /// Each section, over all subsets.
    pub sections: Vec<GroupSummary>,
    /// Each subset, over all sections, and the tokens without a subset.
    pub subsets: Vec<GroupSummary>,
    /// Each section of each subset.
    pub sections_of_subsets: Vec<GroupSummary>,
}

/// A section, a subset, or a section of a subset in a [`StatisticsSummary`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupSummary {
    /// The section; null for all of them.
    pub section: Option<Section>,
    /// The subset; null for tokens without one, and for all of them.
    pub subset: Option<String>,
    /// Tokens.
    pub tokens: u64,
    /// Those of them that have a loss, which is that of the token after them: all but the last of each sequence, and but
    /// those whose loss is not finite. Null without predictions.
    pub losses: Option<u64>,
    /// Mean of these losses, in nats; null without any.
    pub mean_loss: Option<f64>,
    /// Mean entropy of the predicted distribution, in nats; null without predictions.
    pub mean_entropy: Option<f64>,
    /// Mean Euclidean norm at each site, in order of the sites; null where no row is finite.
    pub mean_norms: Vec<Option<f64>>,
}

/// Sums up the cache in `folder` from its manifest; no other file is read.
pub fn inspect(folder: &Path) -> Result<Summary> {
    Ok(summary(&Cache::open(folder)?, folder))
}

/// Sums up the cache in a folder or at a [`Location`](crate::Location) from its manifest; no other file is read.
pub fn inspect_at(place: &Path, options: &RemoteOptions) -> Result<Summary> {
    Ok(summary(&Cache::open_at(place, options)?, place))
}

fn summary(cache: &Cache, folder: &Path) -> Summary {
    let manifest = cache.manifest();
    let bytes_by_file = bytes_by_file(manifest);
    let of_file = |name: &str| bytes_by_file.get(name).copied().unwrap_or(0);
    let sites: Vec<SiteSummary> = manifest
        .sites
        .iter()
        .map(|site| SiteSummary {
            name: site.name.clone(),
            d_model: site.d_model,
            rows: site.rows,
            non_finite_rows: site.non_finite_rows,
            mean_norm: (site.rows > site.non_finite_rows).then_some(site.mean_norm),
            scale: Some(site.scale()).filter(|scale| scale.is_finite()),
            relative_rounding_error: site.rounding.map(|rounding| rounding.relative()),
            bytes: of_file(&site.name.file_name()),
        })
        .collect();
    let bytes = total(bytes_by_file.values().copied());
    let activation_bytes = total(sites.iter().map(|site| site.bytes));
    let words = total(sites.iter().map(|site| site.rows.saturating_mul(site.d_model as u64)));
    Summary {
        folder: folder.to_owned(),
        manifest_blake3: cache.manifest_blake3().to_owned(),
        format: manifest.format,
        generator: manifest.generator.clone(),
        being_written_by: Lock::current_holder(folder),
        model: manifest.model.clone(),
        corpus: manifest.corpus.clone(),
        predictions: manifest.predictions,
        non_finite_losses: non_finite_losses(manifest),
        dtype: manifest.dtype,
        codec: manifest.codec,
        planned_shards: manifest.planned_shards,
        whole_shards: manifest.shards.len(),
        planned: manifest.planned.clone(),
        held: manifest.held.clone(),
        sites,
        statistics: manifest.statistics.as_deref().map(statistics),
        bytes,
        table_bytes: total([SEQUENCES_FILE, TOKENS_FILE, SHARD_FILE].map(of_file)),
        bytes_per_token: ratio(bytes, manifest.held.tokens),
        ratio_to_raw: ratio(words.saturating_mul(manifest.dtype.bytes() as u64), activation_bytes),
    }
}

/// Every token but the last of a sequence has a loss.
fn non_finite_losses(manifest: &Manifest) -> Option<u64> {
    let groups = manifest.statistics.as_deref().filter(|_| manifest.predictions.is_some())?;
    let finite = total(groups.iter().filter_map(|group| group.predictions).map(|sums| sums.losses));
    Some(manifest.held.tokens.saturating_sub(manifest.held.sequences).saturating_sub(finite))
}

fn statistics(groups: &[GroupSums]) -> StatisticsSummary {
    let sections = group_sums::summed_by(groups, |group| group.section);
    let subsets = group_sums::summed_by(groups, |group| group.subset.clone());
    StatisticsSummary {
        sections: sections.iter().map(|sums| GroupSummary { subset: None, ..summary_of(sums) }).collect(),
        subsets: subsets.iter().map(|sums| GroupSummary { section: None, ..summary_of(sums) }).collect(),
        sections_of_subsets: groups.iter().map(summary_of).collect(),
    }
}

fn summary_of(group: &GroupSums) -> GroupSummary {
    let mean = |sum: f64, count: u64| (count > 0).then(|| sum / count as f64);
    GroupSummary {
        section: Some(group.section),
        subset: group.subset.clone(),
        tokens: group.tokens,
        losses: group.predictions.map(|sums| sums.losses),
        mean_loss: group.predictions.and_then(|sums| mean(sums.loss, sums.losses)),
        mean_entropy: group.predictions.and_then(|sums| mean(sums.entropy, sums.entropies)),
        mean_norms: group.norms.iter().map(|sums| mean(sums.norm, sums.rows)).collect(),
    }
}

/// The bytes of the files of each name, over all shards.
fn bytes_by_file(manifest: &Manifest) -> BTreeMap<&str, u64> {
    let mut bytes: BTreeMap<&str, u64> = BTreeMap::new();
    for file in manifest.shards.iter().flat_map(|shard| &shard.files) {
        let sum = bytes.entry(file.path.as_str()).or_default();
        *sum = sum.saturating_add(file.bytes);
    }
    bytes
}

/// A sum, as far as it can be counted: a manifest may say anything.
fn total(numbers: impl IntoIterator<Item = u64>) -> u64 {
    numbers.into_iter().fold(0, u64::saturating_add)
}

fn ratio(numerator: u64, denominator: u64) -> Option<f64> {
    (denominator > 0).then(|| numerator as f64 / denominator as f64)
}
