//! `manifest.json`: what a cache holds.

use std::collections::BTreeMap;
use std::path::Path;

use hayloft_runtime::Dtype;
use serde::{Deserialize, Serialize};

use crate::codec::Codec;
use crate::codec::int8::RoundingError;
use crate::error::{Result, StoreError};
use crate::format::group_sums::{self, GroupSums};
use crate::format::plan::PlanReader;
use crate::format::records::{Corpus, Counts, FileRecord, KeptPredictions, ModelRecord};
use crate::format::settings::HarvestSettings;
use crate::format::shard_record::WrittenShard;
use crate::format::site::SiteName;
use crate::format::statistics::ActivationSums;

pub(crate) const MANIFEST_FILE: &str = "manifest.json";

/// The program that writes the files, with its version.
const GENERATOR: &str = concat!("hayloft ", env!("CARGO_PKG_VERSION"));

/// What `manifest.json` holds. `Shards` lists the shards: records in memory, or what serialises as they do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest<Shards = Vec<ShardRecord>> {
    /// The format's version.
    pub format: u32,
    /// The program that wrote it, with its version.
    pub generator: String,
    /// BLAKE3 of `plan.json`.
    pub plan_blake3: String,
    /// The model that the activations come from.
    pub model: ModelRecord,
    /// What the tokens are.
    pub corpus: Corpus,
    /// The predictions that are kept; null for none.
    pub predictions: Option<KeptPredictions>,
    /// How activations are stored.
    pub codec: Codec,
    /// The type that they are stored in.
    pub dtype: Dtype,
    /// The sites, in order of their names.
    pub sites: Vec<SiteRecord>,
    /// How far stored logits are from those of the model, where the codec rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logits_rounding: Option<RoundingError>,
    /// Sums over the tokens of each section of each subset; none in a cache of format version 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statistics: Option<Vec<GroupSums>>,
    /// How many shards are planned.
    pub planned_shards: usize,
    /// How much is planned, over all shards.
    pub planned: Counts,
    /// How much is here, over the shards listed.
    pub held: Counts,
    /// The shards that are whole, in order of their numbers.
    pub shards: Shards,
}

/// One site over all shards of a cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SiteRecord {
    /// The site.
    pub name: SiteName,
    /// Elements of a row.
    pub d_model: usize,
    /// Rows.
    pub rows: u64,
    /// Rows with a NaN or infinite element; they are in neither mean.
    pub non_finite_rows: u64,
    /// Mean Euclidean norm of the other rows; 0 if there are none.
    pub mean_norm: f64,
    /// Mean of the other rows, `[d_model]`; zeros if there are none.
    pub mean: Vec<f64>,
    /// How far what is read is from what was given, where the codec rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rounding: Option<RoundingError>,
}

impl SiteRecord {
    /// The scale c that brings the mean norm to `sqrt(d_model)`: `expected_average_only_in`. Infinite if no row is finite
    /// and non-zero.
    pub fn scale(&self) -> f64 {
        (self.d_model as f64).sqrt() / self.mean_norm
    }
}

/// A whole shard as the manifest lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardRecord {
    /// The shard's number in the plan.
    pub index: usize,
    /// Its folder, relative to the cache's.
    pub path: String,
    /// How much is in it.
    pub counts: Counts,
    /// Its files, `shard.json` first; paths are relative to its folder.
    pub files: Vec<FileRecord>,
}

impl Manifest {
    /// The manifest of a cache with these shards.
    pub(crate) fn new(plan: &PlanReader, settings: &HarvestSettings, shards: &BTreeMap<usize, WrittenShard>) -> Self {
        let mut totals = Totals::new(settings);
        for shard in shards.values() {
            totals.add(shard);
        }
        totals.manifest(plan, settings, shards.values().map(|shard| shard.record.clone()).collect())
    }

    /// Checks that the sizes in it are ones that it has the numbers for: nothing is then sized by more than the file
    /// holds.
    pub(crate) fn check_sizes(&self, path: &Path) -> Result<()> {
        let malformed = |expected: String, got: String| StoreError::Malformed { path: path.to_owned(), expected, got };
        self.settings().check_sizes().map_err(|error| malformed("sizes of a model".to_owned(), error.to_string()))?;
        match self.sites.iter().find(|site| site.mean.len() != site.d_model) {
            None => Ok(()),
            Some(site) => Err(malformed(
                format!("a mean of {} elements for {}", site.d_model, site.name),
                site.mean.len().to_string(),
            )),
        }
    }

    /// The type of the words that are read: [`Self::dtype`], or f32 where the codec rounds.
    pub fn read_dtype(&self) -> Dtype {
        self.codec.read_dtype(self.dtype)
    }

    /// What the cache was made with.
    pub fn settings(&self) -> HarvestSettings {
        let others = self.sites.iter().filter(|site| site.d_model != self.model.d_model);
        HarvestSettings {
            model: self.model.clone(),
            sites: self.sites.iter().map(|site| site.name.clone()).collect(),
            site_widths: others.map(|site| (site.name.clone(), site.d_model)).collect(),
            dtype: self.dtype,
            codec: self.codec,
            predictions: self.predictions,
        }
    }
}

impl<Shards> Manifest<Shards> {
    /// The same with the shards listed otherwise.
    pub(crate) fn listing<Others>(self, shards: Others) -> Manifest<Others> {
        Manifest {
            format: self.format,
            generator: self.generator,
            plan_blake3: self.plan_blake3,
            model: self.model,
            corpus: self.corpus,
            predictions: self.predictions,
            codec: self.codec,
            dtype: self.dtype,
            sites: self.sites,
            logits_rounding: self.logits_rounding,
            statistics: self.statistics,
            planned_shards: self.planned_shards,
            planned: self.planned,
            held: self.held,
            shards,
        }
    }
}

/// What a manifest says of all shards together, while they are added in the order of their numbers. However many there are, it takes
/// the room of one.
#[derive(Clone, Debug)]
pub(crate) struct Totals {
    held: Counts,
    sites: Vec<(ActivationSums, Option<RoundingError>)>,
    logits_rounding: Option<RoundingError>,
    /// None from the first shard on that has none.
    statistics: Option<Vec<GroupSums>>,
}

impl Totals {
    /// Of no shards.
    pub(crate) fn new(settings: &HarvestSettings) -> Self {
        let sites = settings.sites.iter().map(|site| (ActivationSums::new(settings.width(site)), None));
        Self { held: Counts::default(), sites: sites.collect(), logits_rounding: None, statistics: Some(Vec::new()) }
    }

    /// Adds the shard that follows.
    pub(crate) fn add(&mut self, shard: &WrittenShard) {
        let contents = &shard.contents;
        self.held.add(&contents.counts);
        for ((sum, rounding), site) in self.sites.iter_mut().zip(&contents.sites) {
            sum.add(&site.sums);
            *rounding = summed(*rounding, site.rounding);
        }
        self.logits_rounding =
            summed(self.logits_rounding, contents.logits.as_ref().and_then(|logits| logits.rounding));
        let statistics = self.statistics.take().zip(contents.statistics.as_ref());
        self.statistics = statistics.map(|(sums, next)| group_sums::with_next(&sums, next));
    }

    /// Each site's record.
    pub(crate) fn sites(&self, settings: &HarvestSettings) -> Vec<SiteRecord> {
        let of_site = |(name, (sums, rounding)): (&SiteName, &(ActivationSums, Option<RoundingError>))| SiteRecord {
            name: name.clone(),
            d_model: settings.width(name),
            rows: sums.rows,
            non_finite_rows: sums.non_finite_rows,
            mean_norm: sums.mean_norm(),
            mean: sums.mean(),
            rounding: *rounding,
        };
        settings.sites.iter().zip(&self.sites).map(of_site).collect()
    }

    /// Sums over the tokens of each section of each subset; none where a shard has none.
    pub(crate) fn statistics(&self) -> Option<&Vec<GroupSums>> {
        self.statistics.as_ref()
    }

    /// The manifest over the shards that were added, whose records are `shards`.
    pub(crate) fn manifest<Shards>(
        &self,
        plan: &PlanReader,
        settings: &HarvestSettings,
        shards: Shards,
    ) -> Manifest<Shards> {
        Manifest {
            format: plan.plan().format,
            generator: GENERATOR.to_owned(),
            plan_blake3: plan.blake3().to_owned(),
            model: settings.model.clone(),
            corpus: plan.plan().corpus.clone(),
            predictions: settings.predictions,
            codec: settings.codec,
            dtype: settings.dtype,
            sites: self.sites(settings),
            logits_rounding: self.logits_rounding,
            statistics: self.statistics.clone(),
            planned_shards: plan.plan().shards.len(),
            planned: plan.plan().counts.clone(),
            held: self.held.clone(),
            shards,
        }
    }
}

/// The errors of shards and of one that follows together; none if neither has one.
fn summed(sum: Option<RoundingError>, next: Option<RoundingError>) -> Option<RoundingError> {
    match (sum, next) {
        (Some(mut sum), Some(next)) => {
            sum.add(next);
            Some(sum)
        }
        (sum, next) => sum.or(next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_brings_the_mean_norm_to_the_root_of_the_width() {
        let site = SiteRecord {
            name: "blocks.0.hook_resid_pre".parse().unwrap(),
            d_model: 16,
            rows: 1,
            non_finite_rows: 0,
            mean_norm: 8.0,
            mean: vec![2.0; 16],
            rounding: None,
        };
        assert!((site.scale() - 0.5).abs() < 1e-15);
    }

    #[test]
    fn one_shard_without_sums_over_groups_leaves_none() {
        let folder = tempfile::tempdir().unwrap();
        let settings = crate::support::settings(Dtype::Bf16, Codec::Raw);
        crate::support::write_plan(folder.path(), &crate::support::lengths());
        let writer = crate::support::open(folder.path(), &settings, crate::Existing::Refuse).unwrap();
        let shard = crate::support::fill_shard(&writer, 0).unwrap();
        let mut without = shard.clone();
        without.contents.statistics = None;
        for (shards, has) in
            [(vec![&shard, &shard], true), (vec![&shard, &without], false), (vec![&without, &shard], false)]
        {
            let mut totals = Totals::new(&settings);
            for shard in shards {
                totals.add(shard);
            }
            assert_eq!(totals.statistics().is_some(), has);
        }
    }
}
