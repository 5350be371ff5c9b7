//! Results, as they are written. `RESULTS.md` describes every field.

pub(crate) mod conventions;
pub(crate) mod model_weights;
pub(crate) mod names;

use hayloft_rows::{OutlierNorm, RowChoice, ScaleSource, SectionChoice, TrainingOrigin};
use hayloft_runtime::{Dtype, FileHash, Fingerprint};
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

/// Where the columns' definitions are written down, and their version.
pub const DEFINITIONS: &str = "hayloft/crates/results/RESULTS.md#columns v1";

/// What an evaluation found.
#[derive(Debug, Clone, PartialEq)]
pub struct Results {
    /// One for each SAE and section: all sections of the first SAE, then of the next.
    pub results: Vec<SaeResult>,
    /// How often each latent fired, for each of the results, in the same order.
    pub latents: Vec<LatentCounts>,
    /// The check of the cache against the model; `None` where the cache keeps no losses to check against.
    pub clean_check: Option<CleanCheck>,
    /// Tokens of the cache that were gone through.
    pub tokens: u64,
}

/// What was found for one SAE and one section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SaeResult {
    /// The SAE's name: the end of its folder's path that tells it from the others of the run.
    pub sae: String,
    /// The rows it is about.
    pub section: SectionChoice,
    /// The site, by the cache's name.
    pub site: String,
    /// The figures.
    #[serde(flatten)]
    pub columns: Columns,
    /// c: the SAE saw c times the residual.
    pub scale: f64,
    /// Where c came from.
    pub scale_source: ScaleSource,
    /// The rows that c is averaged over, where these are not all of the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_rows: Option<RowChoice>,
    /// Norms above this, after scaling, are outliers.
    pub outlier_norm: Option<f64>,
    /// The same in the model's own space.
    #[serde(default)]
    pub outlier_norm_raw: Option<f64>,
    /// What was asked for; `None` in results of versions that did not say, too.
    #[serde(default)]
    pub outlier_rule: Option<OutlierNorm>,
    /// The conventions that figures were computed by.
    #[serde(default)]
    pub conventions: ResultConventions,
    /// What the upper half of the model ran in; without one, what the cache's model ran in.
    pub precision: Dtype,
    /// Where the clean losses came from; `None` where there was no model, and so no losses.
    pub clean_loss_source: Option<CleanSource>,
    /// What computing in a lower precision than float32 does to the figures, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_effect: Option<ComputeEffect>,
    /// How far the spliced run's predictions are from the clean run's, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kl: Option<Kl>,
    /// Where the figures lie, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intervals: Option<Intervals>,
    /// The figures of each subset of the corpus, where they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subsets: Vec<SubsetFigures>,
    /// What the rounding of the stored activations does to the figures, where the cache's codec rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_rounding: Option<StoredRounding>,
    /// Where the figures are defined.
    pub definitions: String,
    /// How often latents fire.
    pub latents: LatentSummary,
    /// Sums over all shards, merged in their order.
    pub sums: Sums,
    /// Sums over each shard.
    pub shards: Vec<ShardResult>,
    /// What it was computed from.
    pub provenance: Provenance,
}

impl SaeResult {
    /// What targets and reconstructions were multiplied by: c, but for transcoders, which give back another site than the one
    /// that they are given.
    pub fn target_scale(&self) -> f64 {
        self.provenance.sae.target_scale(self.scale)
    }
}

impl SaeProvenance {
    /// What targets and reconstructions are multiplied by, where what the SAE is given is multiplied by c.
    pub fn target_scale(&self, scale: f64) -> f64 {
        if self.architecture.ends_with("transcoder") { 1.0 } else { scale }
    }
}

/// Sums over one shard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShardResult {
    /// The shard's number in the plan.
    pub shard: usize,
    /// Its sums.
    pub sums: Sums,
}

/// What a result was computed from, and by what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of hayloft.
    pub hayloft_version: String,
    /// The name of the corpus in the cache.
    pub corpus: String,
    /// BLAKE3 of the cache's `manifest.json`.
    pub manifest_blake3: String,
    /// The model, checked to be the one that the cache was harvested from; without one, the one that the cache names.
    pub model: Fingerprint,
    /// The SAE.
    pub sae: SaeProvenance,
}

/// Which SAE it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SaeProvenance {
    /// Its folder as it was given.
    pub folder: String,
    /// The format of its files; `None` in results of versions that knew SAELens's alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Its architecture, by SAELens's name.
    pub architecture: String,
    /// Number of latents.
    pub width: usize,
    /// What it wants done to its input, by SAELens's name.
    pub normalize_activations: String,
    /// The site that its configuration names.
    pub site: Option<String>,
    /// The model that its configuration names.
    pub model_name: Option<String>,
    /// The files that it was read from.
    pub files: Vec<FileHash>,
    /// What it says of its training, where it was trained here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingOrigin>,
}
