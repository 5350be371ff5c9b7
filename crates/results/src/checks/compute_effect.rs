//! What computing in a lower precision does to the figures, measured on a sample.

use hayloft_runtime::Dtype;
use serde::{Deserialize, Serialize};

use crate::columns::Columns;
use crate::sums::Sums;

/// A figure computed in lower precision less the same computed in float32, on the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ComputeEffect {
    /// What the run computed in.
    pub precision: Dtype,
    /// Rows of the sample that the figures on activations are over.
    pub activation_rows: u64,
    /// Of the mean count of latents above zero.
    pub l0: Option<f64>,
    /// Of the share of the loss recovered, with the baselines of the whole cache.
    pub ce_recovered: Option<f64>,
    /// Of the loss with reconstructions put back, nats.
    pub ce_sae: Option<f64>,
    /// Of the explained variance.
    pub explained_variance: Option<f64>,
    /// Of the pooled explained variance.
    pub explained_variance_pooled: Option<f64>,
    /// Of the squared error, in scaled space.
    pub mse: Option<f64>,
}

/// Sums over the sample, from which the effect follows once the baselines of the whole cache are known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComputeSample {
    /// What the run computed in.
    pub precision: Dtype,
    /// What came of that.
    pub low: Sums,
    /// The same, computed in float32.
    pub exact: Sums,
}

impl ComputeEffect {
    /// What a sample says, of an SAE in a section of which these are the sums over each of the cache's shards.
    pub fn of(sample: &ComputeSample, scale: f64, shards: &[Sums]) -> Self {
        let gap = loss_gap(shards);
        let (low, exact) = (Columns::of(&sample.low, scale), Columns::of(&sample.exact, scale));
        let less = |figure: fn(&Columns) -> Option<f64>| Some(figure(&low)? - figure(&exact)?);
        let ce_sae = less(|columns| columns.ce_sae);
        Self {
            precision: sample.precision,
            activation_rows: exact.activation_rows,
            l0: less(|columns| columns.l0),
            ce_recovered: ce_sae.map(|difference| -difference / gap).filter(|difference| difference.is_finite()),
            ce_sae,
            explained_variance: less(|columns| columns.explained_variance),
            explained_variance_pooled: less(|columns| columns.explained_variance_pooled),
            mse: less(|columns| columns.mse),
        }
    }
}

/// Zero less clean, of the mean losses over the whole cache.
fn loss_gap(shards: &[Sums]) -> f64 {
    let tokens: u64 = shards.iter().map(|shard| shard.loss_tokens).sum();
    shards.iter().map(|shard| shard.zero_loss - shard.clean_loss).sum::<f64>() / tokens as f64
}
