//! How divergences were computed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How KL(clean ‖ spliced) was computed, and so what it is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "way", rename_all = "snake_case")]
pub enum KlWay {
    /// Exactly: the clean logits are those that the cache keeps.
    Stored,
    /// Nearly: the clean logits are those that the cache keeps, but its codec has rounded them.
    StoredRounded,
    /// Exactly: the clean logits were computed again from the cached residual.
    Recomputed,
    /// A lower bound: of the clean logits only the largest are known, and their logsumexp.
    Bound {
        /// How many.
        top_k: u32,
    },
}

impl KlWay {
    /// Whether the cache's logits are read.
    pub fn reads_logits(self) -> bool {
        matches!(self, Self::Stored | Self::StoredRounded)
    }

    /// A name fit for a file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::StoredRounded => "stored_rounded",
            Self::Recomputed => "recomputed",
            Self::Bound { .. } => "bound",
        }
    }
}

impl fmt::Display for KlWay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stored => formatter.write_str("exact, from stored logits"),
            Self::StoredRounded => formatter.write_str("not exact, from stored logits rounded to eight bits"),
            Self::Recomputed => formatter.write_str("exact, recomputed"),
            Self::Bound { top_k } => write!(formatter, "lower bound, from the top {top_k}"),
        }
    }
}
