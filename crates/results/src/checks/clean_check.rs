//! Whether going on from the cached residual gives the cached losses.

use serde::{Deserialize, Serialize};

/// The outcome of the check on the first sequences of the cache; of a part, on those of its first shard.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CleanCheck {
    /// Tokens compared.
    pub tokens: usize,
    /// The largest difference of a token's two losses, nats.
    pub max_difference: f64,
    /// The largest that is taken.
    pub tolerance: f64,
}
