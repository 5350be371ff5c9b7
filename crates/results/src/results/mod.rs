//! The results as written to files. `RESULTS.md` describes every field.

pub(crate) mod conventions;
pub(crate) mod model_weights;
pub(crate) mod sae_names;

use hayloft_rows::{OutlierNorm, RowChoice, ScaleSource, SectionChoice, TrainingOrigin};
use hayloft_runtime::{Dtype, FileHash};
use serde::{Deserialize, Serialize};

use crate::bootstrap::Intervals;
use crate::checks::clean_check::CleanCheck;
use crate::checks::clean_source::CleanSource;
use crate::checks::compute_effect::ComputeEffect;
use crate::checks::stored_rounding::StoredRounding;
use crate::columns::Columns;
use crate::histograms::{LatentCounts, LatentSummary};
use crate::kl::result::Kl;
use crate::results::conventions::ResultConventions;
use crate::subsets::figures::SubsetFigures;
use crate::sums::Sums;

/// Location and version of the definitions of a result's fields. Readers refuse results with another.
pub const DEFINITIONS: &str = "hayloft/crates/results/RESULTS.md#columns v1";

/// The outcome of an evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Results {
    /// One per SAE and section: all sections of the first SAE, then of the next.
    pub results: Vec<SaeResult>,
    /// Firing counts of each result's latents, in the same order.
    pub latents: Vec<LatentCounts>,
    /// Check of the cache against the model; `None` if the cache has no losses.
    pub clean_check: Option<CleanCheck>,
    /// Tokens of the cache that were processed.
    pub tokens: u64,
}

/// The result of one SAE in one section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SaeResult {
    /// The SAE's name: the shortest end of its folder's path that is unique in the run.
    pub sae: String,
    /// The rows it covers.
    pub section: SectionChoice,
    /// The site, by its name in the cache.
    pub site: String,
    /// The metrics.
    #[serde(flatten)]
    pub columns: Columns,
    /// c: the SAE's input is c times the residual.
    pub scale: f64,
    /// The source of c.
    pub scale_source: ScaleSource,
    /// The rows that c is computed over, if not all of the cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_rows: Option<RowChoice>,
    /// Outlier threshold on norms, in scaled space.
    pub outlier_norm: Option<f64>,
    /// The same, unscaled.
    pub outlier_norm_raw: Option<f64>,
    /// The rule as requested.
    pub outlier_rule: Option<OutlierNorm>,
    /// The conventions of the metrics.
    pub conventions: ResultConventions,
    /// Compute precision of the upper part of the model; without a model, that of the cache.
    pub precision: Dtype,
    /// The source of clean losses; `None` without a model, and so without losses.
    pub clean_loss_source: Option<CleanSource>,
    /// Effect of a compute precision below float32 on the metrics, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute_effect: Option<ComputeEffect>,
    /// Divergence of the spliced run's predictions from the clean run's, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kl: Option<Kl>,
    /// Confidence intervals, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intervals: Option<Intervals>,
    /// Metrics of each subset of the corpus, if requested.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subsets: Vec<SubsetFigures>,
    /// Effect of the stored activations' rounding, if the cache's codec is lossy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored_rounding: Option<StoredRounding>,
    /// Where the metrics are defined.
    pub definitions: String,
    /// Summary of firing densities.
    pub latents: LatentSummary,
    /// Sums over all shards, merged in shard order.
    pub sums: Sums,
    /// Sums of each shard.
    pub shards: Vec<ShardResult>,
    /// What the result was computed from.
    pub provenance: Provenance,
}

impl SaeResult {
    /// The factor on targets and reconstructions: c, but 1 for transcoders, whose target is another site than their
    /// input.
    pub fn target_scale(&self) -> f64 {
        self.provenance.sae.target_scale(self.scale)
    }
}

impl SaeProvenance {
    /// The factor on targets and reconstructions, for a factor c on the SAE's input.
    pub fn target_scale(&self, scale: f64) -> f64 {
        if self.architecture.ends_with("transcoder") { 1.0 } else { scale }
    }
}

/// The sums of one shard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShardResult {
    /// The shard's number in the plan.
    pub shard: usize,
    /// Its sums.
    pub sums: Sums,
}

/// What a result was computed from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Hayloft's version.
    pub hayloft_version: String,
    /// The corpus of the cache.
    pub corpus: String,
    /// BLAKE3 of the cache's `manifest.json`.
    pub manifest_blake3: String,
    /// The model, verified against the cache; without a model, the one that the cache names.
    pub model: ModelProvenance,
    /// The SAE.
    pub sae: SaeProvenance,
}

/// The model of a result, as its cache records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelProvenance {
    /// Family name as in `config.json`.
    pub model_type: String,
    /// SHA-256 of the model's identity, hexadecimal; `None` if the cache does not know its model.
    #[serde(deserialize_with = "Option::deserialize")]
    pub identity_sha256: Option<String>,
}

impl ModelProvenance {
    /// The digest of the identity, or `unknown`.
    pub fn identity(&self) -> &str {
        self.identity_sha256.as_deref().unwrap_or("unknown")
    }
}

/// Identity of an SAE.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SaeProvenance {
    /// Its folder, as given.
    pub folder: String,
    /// Its file format.
    pub format: String,
    /// Its architecture, by SAELens's name.
    pub architecture: String,
    /// Number of latents.
    pub width: usize,
    /// Its input normalisation, by SAELens's name.
    pub normalize_activations: String,
    /// The site in its configuration.
    pub site: Option<String>,
    /// The model in its configuration.
    pub model_name: Option<String>,
    /// Hashes of its files.
    pub files: Vec<FileHash>,
    /// The record of its training, if hayloft trained it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingOrigin>,
}
