//! A one-screen summary of a cache.

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
#[cfg(feature = "remote")]
use crate::remote::RemoteOptions;

/// The result of [`inspect`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The cache folder.
    pub folder: PathBuf,
    /// BLAKE3 of `manifest.json`.
    pub manifest_blake3: String,
    /// Format version.
    pub format: u32,
    /// The program that wrote the manifest.
    pub generator: String,
    /// The process that is writing to the cache, if any.
    pub being_written_by: Option<String>,
    /// The model.
    pub model: ModelRecord,
    /// The corpus.
    pub corpus: Corpus,
    /// The stored predictions.
    pub predictions: Option<KeptPredictions>,
    /// Number of NaN or infinite losses, which are excluded from counts and means; null if unknown.
    pub non_finite_losses: Option<u64>,
    /// The dtype of the stored activations.
    pub dtype: Dtype,
    /// The codec of the activations.
    pub codec: Codec,
    /// Number of planned shards.
    pub planned_shards: usize,
    /// Number of complete shards.
    pub whole_shards: usize,
    /// Counts over all planned shards.
    pub planned: Counts,
    /// Counts over the complete shards.
    pub held: Counts,
    /// The sites.
    pub sites: Vec<SiteSummary>,
    /// Statistics by section and subset.
    pub statistics: StatisticsSummary,
    /// Size of all complete shards in bytes.
    pub bytes: u64,
    /// Size of their tables in bytes: tokens, predictions, sequences and records.
    pub table_bytes: u64,
    /// `bytes` per token; null without tokens.
    pub bytes_per_token: Option<f64>,
    /// Size of the activations as plain words relative to their stored size; null without activations.
    pub ratio_to_raw: Option<f64>,
}

/// A site in a [`Summary`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SiteSummary {
    /// The site.
    pub name: SiteName,
    /// Row width.
    pub d_model: usize,
    /// Number of rows.
    pub rows: u64,
    /// Rows with a NaN or infinite element.
    pub non_finite_rows: u64,
    /// Mean Euclidean norm of the finite rows; null without any.
    pub mean_norm: Option<f64>,
    /// The scale c that brings the mean norm to sqrt(`d_model`); null if every finite row is zero.
    pub scale: Option<f64>,
    /// Norm of the rounding error relative to the norm of the activations; null for a lossless codec.
    pub relative_rounding_error: Option<f64>,
    /// Size of the site's files in bytes.
    pub bytes: u64,
}

/// Statistics by section and subset.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StatisticsSummary {
    /// Sections, over all subsets.
    pub sections: Vec<GroupSummary>,
    /// Subsets, over all sections, including tokens without a subset.
    pub subsets: Vec<GroupSummary>,
    /// Sections of each subset.
    pub sections_of_subsets: Vec<GroupSummary>,
}

/// A section, a subset, or a section of a subset in a [`StatisticsSummary`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupSummary {
    /// The section; null for all sections.
    pub section: Option<Section>,
    /// The subset; null for all subsets and for tokens without a subset.
    pub subset: Option<String>,
    /// Number of tokens.
    pub tokens: u64,
    /// Number of tokens with a finite loss. The loss is that of the next token, so the last token of each sequence has
    /// none. Null without predictions.
    pub losses: Option<u64>,
    /// Mean loss, in nats; null without losses.
    pub mean_loss: Option<f64>,
    /// Mean entropy of the predicted distribution, in nats; null without predictions.
    pub mean_entropy: Option<f64>,
    /// Mean Euclidean norm by site, in order of the sites; null without finite rows.
    pub mean_norms: Vec<Option<f64>>,
}

/// Summarises the cache in `folder`. Reads only its manifest.
pub fn inspect(folder: &Path) -> Result<Summary> {
    Ok(summary(&Cache::open(folder)?, folder))
}

/// Summarises the cache in a folder or at a [`Location`](crate::Location). Reads only its manifest.
#[cfg(feature = "remote")]
pub fn inspect_at(place: &Path, options: &RemoteOptions) -> Result<Summary> {
    Ok(summary(&Cache::open_at(place, options)?, place))
}

impl Cache {
    /// Summarises the cache as [`inspect`] does. Reads no file.
    pub fn summary(&self) -> Summary {
        summary(self, self.folder())
    }
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
        statistics: statistics(&manifest.statistics),
        bytes,
        table_bytes: total([SEQUENCES_FILE, TOKENS_FILE, SHARD_FILE].map(of_file)),
        bytes_per_token: ratio(bytes, manifest.held.tokens),
        ratio_to_raw: ratio(words.saturating_mul(manifest.dtype.bytes() as u64), activation_bytes),
    }
}

/// Every token has a loss except the last of each sequence.
fn non_finite_losses(manifest: &Manifest) -> Option<u64> {
    manifest.predictions?;
    let finite = total(manifest.statistics.iter().filter_map(|group| group.predictions).map(|sums| sums.losses));
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

/// Returns the total size of the files of each name, over all shards.
fn bytes_by_file(manifest: &Manifest) -> BTreeMap<&str, u64> {
    let mut bytes: BTreeMap<&str, u64> = BTreeMap::new();
    for file in manifest.shards.iter().flat_map(|shard| &shard.files) {
        let sum = bytes.entry(file.path.as_str()).or_default();
        *sum = sum.saturating_add(file.bytes);
    }
    bytes
}

/// Returns a saturating sum, because a manifest is untrusted.
fn total(numbers: impl IntoIterator<Item = u64>) -> u64 {
    numbers.into_iter().fold(0, u64::saturating_add)
}

fn ratio(numerator: u64, denominator: u64) -> Option<f64> {
    (denominator > 0).then(|| numerator as f64 / denominator as f64)
}
