//! Statistics of all latents of one SAE.

use crate::cofiring::{CoFiring, CoFiringTokens};
use crate::examples::Example;
use crate::groups::Group;
use crate::histogram::Histogram;

/// Statistics of all latents of one SAE.
#[derive(Debug)]
pub struct SaeLatents {
    /// Tokens that the SAE has read.
    pub tokens: u64,
    /// The groups of these tokens: by kind, then by name.
    pub groups: Vec<GroupTokens>,
    /// All latents.
    pub latents: Vec<Latent>,
    /// The tokens that co-firing latents are counted over.
    pub cofiring_tokens: CoFiringTokens,
}

/// A group and its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupTokens {
    /// The group.
    pub group: Group,
    /// Tokens of the group that the SAE has read.
    pub tokens: u64,
}

/// Statistics of one latent. It fires at a token if its activation is above zero.
#[derive(Debug, Clone, PartialEq)]
pub struct Latent {
    /// Tokens at which it fires.
    pub firings: u64,
    /// Mean activation over these tokens; `None` without any.
    pub mean: Option<f64>,
    /// Largest activation; `None` if it never fires.
    pub max: Option<f32>,
    /// Its activations above zero.
    pub histogram: Histogram,
    /// Firings in each of [`SaeLatents::groups`].
    pub groups: Vec<u64>,
    /// Its strongest co-firing latents, by Jaccard index.
    pub cofiring: Vec<CoFiring>,
    /// Its firings with the largest activations, the largest first; of equal ones the first in sequence and position.
    pub top: Vec<Example>,
    /// A sample of its firings, spread over its quantiles, the smallest first.
    pub sampled: Vec<Example>,
}

impl Latent {
    /// The activation that a share of its activations above zero lies below, from their histogram.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        self.histogram.quantile(share, self.max?)
    }
}
