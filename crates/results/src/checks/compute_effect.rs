//! Effect of a lower compute precision on the metrics, measured on a sample.

use std::collections::BTreeMap;

use hayloft_runtime::Dtype;
use serde::{Deserialize, Serialize, Serializer};

use crate::columns::{COLUMNS, Column, ColumnTable, Columns};
use crate::sums::Sums;

/// Metrics in a lower precision minus metrics in float32, on the same rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComputeEffect {
    /// The run's compute precision.
    pub precision: Dtype,
    /// Rows of the sample that metrics on activations cover.
    pub activation_rows: u64,
    /// Effect on each compared column of the main table, by name, in its unit; `None` if undefined. That on
    /// `ce_recovered` is with the baselines of the whole cache.
    #[serde(flatten, serialize_with = "in_order")]
    pub figures: BTreeMap<String, Option<f64>>,
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
        let columns = Column::of(ColumnTable::Main).filter(|column| column.is_compared);
        let less = |column: &Column| Some(column.value(&low, None)? - column.value(&exact, None)?);
        let mut figures: BTreeMap<_, _> = columns.map(|column| (column.name.to_owned(), less(column))).collect();
        let recovered = figures["ce_sae"].map(|difference| -difference / gap).filter(|share| share.is_finite());
        figures.insert("ce_recovered".to_owned(), recovered);
        Self { precision: sample.precision, activation_rows: exact.activation_rows, figures }
    }
}

/// Writes figures in the order of the columns.
fn in_order<S: Serializer>(figures: &BTreeMap<String, Option<f64>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(COLUMNS.iter().filter_map(|column| figures.get_key_value(column.name)))
}

/// Mean zero-ablation loss minus mean clean loss over the whole cache.
fn loss_gap(shards: &[Sums]) -> f64 {
    let tokens: u64 = shards.iter().map(|shard| shard.loss_tokens).sum();
    shards.iter().map(|shard| shard.zero_loss - shard.clean_loss).sum::<f64>() / tokens as f64
}
