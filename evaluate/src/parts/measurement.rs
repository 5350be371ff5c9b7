//! What was measured on some shards of a cache.

use hayloft_results::{
    BySubset, CleanCheck, CleanSource, ComputeSample, KlWay, LatentCounts, ResultConventions, SaeProvenance,
    SequenceSums, StoredRounding, SubsetSums, Sums,
};
use hayloft_rows::{OtherOutliers, OutlierThreshold, RowChoice, ScaleSource, SectionChoice};
use hayloft_runtime::{Dtype, Fingerprint};
use serde::{Deserialize, Serialize};

/// What a run measured on some shards of a cache, in the cache's order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Measurement {
    pub(crate) cache: CacheIdentity,
    pub(crate) protocol: Protocol,
    /// The numbers of the shards that were measured.
    pub(crate) shards: Vec<usize>,
    /// The check of the cache against the model on the first rows of the first of these shards.
    pub(crate) clean_check: Option<CleanCheck>,
    /// Measured on the cache's first rows, and so only where its first shard is among these.
    pub(crate) stored_rounding: Option<StoredRounding>,
    pub(crate) saes: Vec<SaeIdentity>,
    /// In the order of results.
    pub(crate) sections: Vec<SectionMeasurement>,
}

/// Which cache it was, and which model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CacheIdentity {
    pub(crate) manifest_blake3: String,
    pub(crate) corpus: String,
    pub(crate) model: Fingerprint,
    /// Tokens of all shards.
    pub(crate) tokens: u64,
    /// The numbers of all shards, in order.
    pub(crate) shards: Vec<usize>,
}

/// Every setting that figures depend on and that is the same for all SAEs of a run. Fields are compared, and the first that
/// differs is named, in this order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Protocol {
    pub(crate) splice_together: bool,
    /// The site of all SAEs; `None` where they are in place together, each at its own.
    pub(crate) site: Option<String>,
    pub(crate) sections: Vec<SectionChoice>,
    /// As it was asked for.
    pub(crate) outlier_norm: Option<String>,
    /// As it was asked for.
    pub(crate) scale: String,
    pub(crate) conventions: ResultConventions,
    pub(crate) precision: Dtype,
    pub(crate) compute: Option<Dtype>,
    pub(crate) clean_loss_source: Option<CleanSource>,
    pub(crate) kl: Option<KlProtocol>,
    /// Resamples.
    pub(crate) bootstrap: Option<usize>,
    pub(crate) by_subset: bool,
    pub(crate) definitions: String,
}

/// How divergences are computed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct KlProtocol {
    #[serde(flatten)]
    pub(crate) way: KlWay,
    pub(crate) clean_precision: Dtype,
    pub(crate) spliced_precision: Dtype,
}

/// An SAE of a run, and what was resolved for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SaeIdentity {
    pub(crate) name: String,
    pub(crate) site: String,
    pub(crate) scale: f64,
    pub(crate) scale_source: ScaleSource,
    pub(crate) scale_rows: Option<RowChoice>,
    pub(crate) outliers: Option<OutlierThreshold>,
    /// The other SAEs that were in place at the same time.
    pub(crate) spliced_with: Vec<String>,
    pub(crate) provenance: SaeProvenance,
}

/// What was measured of one SAE in one section.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SectionMeasurement {
    /// The place of the SAE in the list of the measurement.
    pub(crate) sae: usize,
    pub(crate) section: SectionChoice,
    /// Sums over each shard.
    pub(crate) shards: Vec<Sums>,
    /// How often latents fired in all these shards.
    pub(crate) latents: LatentCounts,
    /// Of each shard the sums over each sequence, where intervals are wanted.
    pub(crate) sequences: Option<Vec<Vec<SequenceSums>>>,
    /// Of each shard the sums over each subset, where figures of subsets are wanted.
    pub(crate) subsets: Option<Vec<BySubset<SubsetSums>>>,
    /// What a lower precision did on the cache's first rows, where it was asked for and the first shard is among these.
    pub(crate) sample: Option<ComputeSample>,
}

impl SaeIdentity {
    /// The rule of its training where that left out other rows for their norm.
    pub(crate) fn other_outliers(&self) -> Option<OtherOutliers> {
        let is_scaled = self.scale_source.is_scaled(&self.provenance.normalize_activations);
        self.provenance.training.as_ref()?.other_outliers(self.outliers.as_ref(), is_scaled)
    }
}

impl Protocol {
    /// Whether sums over each sequence are kept.
    pub(crate) fn keeps_sequences(&self) -> bool {
        self.bootstrap.is_some()
    }
}

impl SectionMeasurement {
    /// Over no shards.
    pub(crate) fn none(sae: usize, section: SectionChoice) -> Self {
        let latents = LatentCounts { rows: 0, firings: Vec::new() };
        Self { sae, section, shards: Vec::new(), latents, sequences: None, subsets: None, sample: None }
    }

    /// Adds what was measured of the same SAE and section on the shards that follow.
    pub(crate) fn append(&mut self, next: Self) {
        self.shards.extend(next.shards);
        // All of one SAE, and so of one width.
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
    /// Makes of sums what comes of them when they are written down and read again.
    pub(crate) fn settle(&mut self) {
        for own in &mut self.sections {
            let of_subsets = own.subsets.iter_mut().flatten().flat_map(BySubset::iter_mut);
            let of_subsets = of_subsets.map(|(_, own)| &mut own.sums);
            own.shards.iter_mut().chain(of_subsets).for_each(Sums::settle);
        }
    }
}
