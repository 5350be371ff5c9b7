//! `training.json`: what was asked for, on what, and what came of it.

use std::fmt;

use hayloft_store::ModelRecord;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::data::{LargestRows, Mixing};
use super::record::TrainingRecord;

/// What a training was and what it came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingSummary {
    /// Version of hayloft.
    pub hayloft_version: String,
    /// Every setting that the weights depend on, and what the data is: site, scale, hashes.
    pub settings: Map<String, Value>,
    /// The model that the activations come from.
    pub model: ModelRecord,
    /// The name of the corpus in the cache.
    pub corpus: String,
    /// Rows of the cache that the filters kept: an epoch.
    pub rows: usize,
    /// What the largest of these rows hold of the squared norm.
    pub largest_rows: LargestRows,
    /// Where it was computed, and with how many threads: with these the same settings give the same bits.
    pub device: String,
    /// Threads of the kernels.
    pub threads: i32,
    /// How well batches were mixed.
    pub mixing: Mixing,
    /// The last step.
    pub last: TrainingRecord,
}

impl TrainingSummary {
    /// The same as indented JSON.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}

impl fmt::Display for TrainingSummary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TrainingRecord { step, tokens, loss, reconstruction_loss, l0, explained_variance, dead_fraction, .. } =
            self.last;
        let Mixing { row_groups, row_groups_per_batch, row_groups_per_batch_if_perfect } = self.mixing;
        writeln!(formatter, "{step} steps on {tokens} tokens, drawn from {} of {}", self.rows, self.corpus)?;
        writeln!(
            formatter,
            "last batch: loss {loss:.4}, error {reconstruction_loss:.4}, L0 {l0:.2}, explained variance {:.2}%, dead latents {:.2}%",
            100.0 * explained_variance,
            100.0 * dead_fraction
        )?;
        write!(
            formatter,
            "mixing: {row_groups_per_batch:.1} of {row_groups} row groups in a batch; {row_groups_per_batch_if_perfect:.1} if perfect"
        )
    }
}
