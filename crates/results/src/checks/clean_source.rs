//! Where clean losses come from.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where clean losses come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CleanSource {
    /// The cache's loss column, written by the harvest.
    Cache,
    /// The upper half of the model, run on the cached residual: the cache keeps no losses, or they are of another
    /// precision.
    Recomputed,
}

impl fmt::Display for CleanSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Cache => "cache",
            Self::Recomputed => "recomputed",
        })
    }
}
