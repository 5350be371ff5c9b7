//! Effect of a lower compute precision on the metrics, measured on a sample.

use hayloft_runtime::Dtype;
use serde::{Deserialize, Serialize};

use crate::columns::Columns;
use crate::sums::Sums;

/// Metrics in a lower precision minus metrics in float32, on the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ComputeEffect {
    /// The run's compute precision.
    pub precision: Dtype,
    /// Rows of the sample that metrics on activations cover.
    pub activation_rows: u64,
    /// Effect on L0.
    pub l0: Option<f64>,
    /// Effect on the share of the loss recovered, with the baselines of the whole cache.
    pub ce_recovered: Option<f64>,
    /// Effect on the cross-entropy loss with reconstructions spliced in, nats.
    pub ce_sae: Option<f64>,
    /// Effect on the explained variance.
    pub explained_variance: Option<f64>,
    /// Effect on the pooled explained variance.
    pub explained_variance_pooled: Option<f64>,
    /// Effect on the squared error, in scaled space.
    pub mse: Option<f64>,
}

/// Sums over the sample. The effect follows once the baselines of the whole cache are known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComputeSample {
    /// The run's compute precision.
    pub precision: Dtype,
    /// Sums in that precision.
    pub low: Sums,
    /// Sums in float32.
    pub exact: Sums,
}

impl ComputeEffect {
    /// Computes the effect for one SAE and section. `shards` are the section's sums over each shard of the cache.
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

/// Mean zero-ablation loss minus mean clean loss over the whole cache.
fn loss_gap(shards: &[Sums]) -> f64 {
    let tokens: u64 = shards.iter().map(|shard| shard.loss_tokens).sum();
    shards.iter().map(|shard| shard.zero_loss - shard.clean_loss).sum::<f64>() / tokens as f64
}
