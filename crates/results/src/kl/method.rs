//! How divergences were computed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How KL(clean ‖ spliced) was computed, and whether it is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum KlMethod {
    /// Exact: clean logits are read from the cache.
    Stored,
    /// Approximate: clean logits are read from the cache, whose codec has rounded them.
    StoredRounded,
    /// Exact: clean logits are recomputed from the cached residual.
    Recomputed,
    /// A lower bound: only the largest clean logits and their logsumexp are known.
    Bound {
        /// Number of known logits.
        top_k: u32,
    },
}

impl KlMethod {
    /// Whether logits are read from the cache.
    pub fn reads_logits(self) -> bool {
        matches!(self, Self::Stored | Self::StoredRounded)
    }

    /// A name for use in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::StoredRounded => "stored_rounded",
            Self::Recomputed => "recomputed",
            Self::Bound { .. } => "bound",
        }
    }
}

impl fmt::Display for KlMethod {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stored => formatter.write_str("exact, from stored logits"),
            Self::StoredRounded => formatter.write_str("not exact, from stored logits rounded to eight bits"),
            Self::Recomputed => formatter.write_str("exact, recomputed"),
            Self::Bound { top_k } => write!(formatter, "lower bound, from the top {top_k}"),
        }
    }
}
