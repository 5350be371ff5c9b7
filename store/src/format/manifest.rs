//! `manifest.json`: what a cache holds.

use std::path::Path;

use hayloft_runtime::Dtype;
use serde::{Deserialize, Serialize};

use crate::codec::Codec;
use crate::codec::int8::RoundingError;
use crate::error::{Result, StoreError};
use crate::format::group_sums::GroupSums;
use crate::format::records::{Corpus, Counts, KeptPredictions, ModelRecord, ShardRecord};
use crate::format::settings::HarvestSettings;
use crate::format::site::SiteName;

pub(crate) const MANIFEST_FILE: &str = "manifest.json";

/// The program that writes the files, with its version.
pub(crate) const GENERATOR: &str = concat!("hayloft ", env!("CARGO_PKG_VERSION"));

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

impl Manifest {
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
