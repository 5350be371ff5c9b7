//! The measurement of some shards of a cache.

use hayloft_results::{
    BySubset, CleanCheck, CleanSource, ComputeSample, KlMethod, LatentCounts, ModelProvenance, ResultConventions,
    SaeProvenance, SequenceSums, StoredRounding, SubsetSums, Sums,
};
use hayloft_rows::{OtherOutliers, OutlierThreshold, RowChoice, ScaleSource, SectionChoice};
use hayloft_runtime::Dtype;
use serde::{Deserialize, Serialize};

/// What a run measured on some shards of a cache, in the cache's order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Measurement {
    pub(crate) cache: CacheIdentity,
    pub(crate) protocol: Protocol,
    /// The numbers of the measured shards.
    pub(crate) shards: Vec<usize>,
    /// The check of the cache against the model, on the first rows of the first of these shards.
    pub(crate) clean_check: Option<CleanCheck>,
    /// Measured on the cache's first rows, so present only if its first shard is among these.
    pub(crate) stored_rounding: Option<StoredRounding>,
    pub(crate) saes: Vec<SaeIdentity>,
    /// In the order of results.
    pub(crate) sections: Vec<SectionMeasurement>,
}

/// Identifies the cache and the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CacheIdentity {
    pub(crate) manifest_blake3: String,
    pub(crate) corpus: String,
    pub(crate) model: ModelProvenance,
    /// Tokens of all shards.
    pub(crate) tokens: u64,
    /// The numbers of all shards, in order.
    pub(crate) shards: Vec<usize>,
}

/// Every setting that metrics depend on and that all SAEs of a run share. Fields are compared in this order, and the
/// first difference is reported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Protocol {
    pub(crate) splice_together: bool,
    /// The site of all SAEs; `None` if they are spliced together, each at a different site.
    pub(crate) site: Option<String>,
    pub(crate) sections: Vec<SectionChoice>,
    /// As given by the user.
    pub(crate) outlier_norm: Option<String>,
    /// As given by the user.
    pub(crate) scale: String,
    pub(crate) conventions: ResultConventions,
    pub(crate) precision: Dtype,
    pub(crate) compute: Option<Dtype>,
    pub(crate) clean_loss_source: Option<CleanSource>,
    pub(crate) kl: Option<KlProtocol>,
    /// Number of resamples.
    pub(crate) bootstrap: Option<usize>,
    pub(crate) by_subset: bool,
    pub(crate) definitions: String,
}

/// How divergences are computed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct KlProtocol {
    #[serde(flatten)]
    pub(crate) method: KlMethod,
    pub(crate) clean_precision: Dtype,
    pub(crate) spliced_precision: Dtype,
}

/// An SAE of a run and the settings resolved for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SaeIdentity {
    pub(crate) name: String,
    pub(crate) site: String,
    pub(crate) scale: f64,
    pub(crate) scale_source: ScaleSource,
    pub(crate) scale_rows: Option<RowChoice>,
    pub(crate) outliers: Option<OutlierThreshold>,
    /// The other SAEs that were spliced in together with this one.
    pub(crate) spliced_with: Vec<String>,
    pub(crate) provenance: SaeProvenance,
}

/// The measurement of one SAE in one section.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SectionMeasurement {
    /// Index of the SAE in the measurement's list.
    pub(crate) sae: usize,
    pub(crate) section: SectionChoice,
    /// Sums per shard.
    pub(crate) shards: Vec<Sums>,
    /// Firing counts of the latents over all these shards.
    pub(crate) latents: LatentCounts,
    /// For each shard the sums per sequence, if intervals are requested.
    pub(crate) sequences: Option<Vec<Vec<SequenceSums>>>,
    /// For each shard the sums per subset, if requested.
    pub(crate) subsets: Option<Vec<BySubset<SubsetSums>>>,
    /// The effect of a lower precision on the cache's first rows, if requested and if the first shard is among these.
    pub(crate) sample: Option<ComputeSample>,
}

impl SaeIdentity {
    /// The outlier rule of its training, if that left out other rows because of their norm.
    pub(crate) fn other_outliers(&self) -> Option<OtherOutliers> {
        let is_scaled = self.scale_source.is_scaled(&self.provenance.normalize_activations);
        self.provenance.training.as_ref()?.other_outliers(self.outliers.as_ref(), is_scaled)
    }
}

impl Protocol {
    pub(crate) fn keeps_sequences(&self) -> bool {
        self.bootstrap.is_some()
    }
}

impl SectionMeasurement {
    /// An empty measurement, over no shards.
    pub(crate) fn none(sae: usize, section: SectionChoice) -> Self {
        let latents = LatentCounts { rows: 0, firings: Vec::new() };
        Self { sae, section, shards: Vec::new(), latents, sequences: None, subsets: None, sample: None }
    }

    /// Appends the measurement of the same SAE and section on the following shards.
    pub(crate) fn append(&mut self, next: Self) {
        self.shards.extend(next.shards);
        // All of one SAE, hence of one width.
        self.latents.firings.resize(next.latents.firings.len(), 0);
        self.latents.merge(&next.latents);
        if let Some(sequences) = next.sequences {
            self.sequences.get_or_insert_default().extend(sequences);
        }
        if let Some(subsets) = next.subsets {
            self.subsets.get_or_insert_default().extend(subsets);
        }
        self.sample = self.sample.take().or(next.sample);
    }
}

impl Measurement {
    /// Replaces values that JSON cannot represent, as writing and reading the sums would.
    pub(crate) fn settle(&mut self) {
        for own in &mut self.sections {
            let of_subsets = own.subsets.iter_mut().flatten().flat_map(BySubset::iter_mut);
            let of_subsets = of_subsets.map(|(_, own)| &mut own.sums);
            own.shards.iter_mut().chain(of_subsets).for_each(Sums::settle);
        }
    }
}
