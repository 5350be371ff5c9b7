//! Sums of divergences.

use serde::{Deserialize, Serialize};

use crate::undefined;

/// Divergences from the clean run over some tokens, nats, summed in float64 in row order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KlSums {
    /// Tokens behind them: those behind the losses.
    pub tokens: u64,
    /// Of the run with the reconstruction in place of the residual.
    #[serde(with = "undefined")]
    pub kl: f64,
    /// Of the run with zeros in place of the residual.
    #[serde(with = "undefined")]
    pub kl_ablated: f64,
}

impl KlSums {
    /// Adds another's sums to these.
    pub fn merge(&mut self, other: &Self) {
        let Self { tokens, kl, kl_ablated } = other;
        self.tokens += tokens;
        self.kl += kl;
        self.kl_ablated += kl_ablated;
    }

    /// Makes of what is not finite what JSON makes of it: undefined.
    pub fn settle(&mut self) {
        self.kl = undefined::settled(self.kl);
        self.kl_ablated = undefined::settled(self.kl_ablated);
    }

    /// Adds the spliced run's divergences at some tokens.
    pub fn add(&mut self, kl: &[f64]) {
        self.tokens += kl.len() as u64;
        self.kl += kl.iter().sum::<f64>();
    }
}
