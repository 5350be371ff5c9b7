//! The source of clean losses.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The source of clean losses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CleanSource {
    /// The cache's loss column, written by the harvest.
    Cache,
    /// The upper part of the model, run on the cached residual, because the cache has no losses or has them in another
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
