//! `manifest.json`: the contents of a cache.

use std::path::Path;

use hayloft_runtime::Dtype;
use serde::{Deserialize, Serialize};

use crate::codec::Codec;
use crate::codec::rounding::RoundingError;
use crate::error::{Result, StoreError};
use crate::format::group_sums::GroupSums;
use crate::format::records::{Corpus, Counts, KeptPredictions, ModelRecord, ShardRecord};
use crate::format::settings::HarvestSettings;
use crate::format::site::SiteName;

pub(crate) const MANIFEST_FILE: &str = "manifest.json";

/// The name and version of this program.
pub(crate) const GENERATOR: &str = concat!("hayloft ", env!("CARGO_PKG_VERSION"));

/// The contents of `manifest.json`. `Shards` is the list of shards: records in memory, or a type that serialises like
/// them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest<Shards = Vec<ShardRecord>> {
    /// Format version.
    pub format: u32,
    /// The program that wrote the manifest, with its version.
    pub generator: String,
    /// BLAKE3 of `plan.json`.
    pub plan_blake3: String,
    /// The model that produced the activations.
    pub model: ModelRecord,
    /// The corpus.
    pub corpus: Corpus,
    /// The stored predictions; null for none.
    pub predictions: Option<KeptPredictions>,
    /// The codec of the activations.
    pub codec: Codec,
    /// The dtype of the stored activations.
    pub dtype: Dtype,
    /// The sites, sorted by name.
    pub sites: Vec<SiteRecord>,
    /// Rounding error of the full logits, for a lossy codec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logits_rounding: Option<RoundingError>,
    /// Sums by section and subset.
    pub statistics: Vec<GroupSums>,
    /// Number of planned shards.
    pub planned_shards: usize,
    /// Counts over all planned shards.
    pub planned: Counts,
    /// Counts over the listed shards.
    pub held: Counts,
    /// The complete shards, in order of their numbers.
    pub shards: Shards,
}

/// A site, over all shards of a cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SiteRecord {
    /// The site.
    pub name: SiteName,
    /// Row width.
    pub d_model: usize,
    /// Number of rows.
    pub rows: u64,
    /// Rows with a NaN or infinite element, which are excluded from both means.
    pub non_finite_rows: u64,
    /// Mean Euclidean norm of the finite rows; 0 without any.
    pub mean_norm: f64,
    /// Mean of the finite rows, `[d_model]`; zeros without any.
    pub mean: Vec<f64>,
    /// Rounding error, for a lossy codec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rounding: Option<RoundingError>,
}

impl SiteRecord {
    /// Returns the scale c that brings the mean norm to `sqrt(d_model)`: SAELens' `expected_average_only_in`. Infinite
    /// if every finite row is zero.
    pub fn scale(&self) -> f64 {
        (self.d_model as f64).sqrt() / self.mean_norm
    }
}

impl Manifest {
    /// Checks that each mean has `d_model` elements. Later allocations are thus bounded by the size of the file.
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

    /// Returns the dtype of the decoded words: [`Self::dtype`], or f32 for a lossy codec.
    pub fn read_dtype(&self) -> Dtype {
        self.codec.read_dtype(self.dtype)
    }

    /// Returns the settings that the cache was made with.
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
    /// Replaces the list of shards.
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
}
