//! Sums of KL divergence.

use serde::{Deserialize, Serialize};

use crate::nan_as_null;

/// Divergences from the clean run over some tokens, nats, summed in float64 in row order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KlSums {
    /// Number of tokens; the same as for the losses.
    pub tokens: u64,
    /// Of the run with the reconstruction spliced in.
    #[serde(with = "nan_as_null")]
    pub kl: f64,
    /// Of the zero-ablated run.
    #[serde(with = "nan_as_null")]
    pub kl_ablated: f64,
}

impl KlSums {
    /// Adds the sums of another.
    pub fn merge(&mut self, other: &Self) {
        let Self { tokens, kl, kl_ablated } = other;
        self.tokens += tokens;
        self.kl += kl;
        self.kl_ablated += kl_ablated;
    }

    /// Maps non-finite sums to NaN, as a round trip through JSON does.
    pub fn settle(&mut self) {
        self.kl = nan_as_null::settled(self.kl);
        self.kl_ablated = nan_as_null::settled(self.kl_ablated);
    }

    /// Adds divergences of the spliced run.
    pub fn add(&mut self, kl: &[f64]) {
        self.tokens += kl.len() as u64;
        self.kl += kl.iter().sum::<f64>();
    }
}
