//! What is collected of the latents of an SAE.

use serde::{Deserialize, Serialize};

/// What is collected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatisticsSettings {
    /// Number of latents.
    pub width: usize,
    /// Number of top examples of each latent.
    pub top: usize,
    /// Number of sampled examples of each latent.
    pub sampled: usize,
    /// Number of co-firing latents of each latent.
    pub cofiring: usize,
    /// Latents that have examples, in ascending order; `None` for all.
    pub with_examples: Option<Vec<u32>>,
    /// Tokens of an example's context on either side.
    pub window: u32,
    /// Tokens of the cache, which the size of the sample of tokens depends on.
    pub tokens: u64,
    /// What the samples come from.
    pub seed: u64,
}

impl StatisticsSettings {
    /// Largest number of examples of a kind, or of co-firing latents, of each latent: all of them are in memory.
    pub const MOST: usize = 1000;

    /// Counts alone, without examples and co-firing latents.
    pub fn new(width: usize) -> Self {
        Self { width, top: 0, sampled: 0, cofiring: 0, with_examples: None, window: 0, tokens: 0, seed: 0 }
    }

    pub(crate) fn has_examples(&self, latent: u32) -> bool {
        self.with_examples.as_ref().is_none_or(|latents| latents.binary_search(&latent).is_ok())
    }
}
