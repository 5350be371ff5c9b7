//! Check that resuming from the cached residual reproduces the cached losses.

use serde::{Deserialize, Serialize};

/// Outcome of the check on the first sequences of the cache, or of the first shard for a part of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CleanCheck {
    /// Tokens compared.
    pub tokens: usize,
    /// Largest difference between a token's two losses, nats.
    pub max_difference: f64,
    /// Largest accepted difference.
    pub tolerance: f64,
}
