//! What the model answered, as data files hold it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What the model answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Its text; what follows the end of its turn may still be there.
    Text(String),
    /// The tokens that it wrote, from a rollouts file.
    Tokens {
        /// Their text.
        text: String,
        /// Their ids, without the token that ended the turn.
        ids: Vec<u32>,
        /// Why there are no more.
        finish_reason: FinishReason,
    },
}

/// Why a model wrote no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FinishReason {
    /// It ended its turn.
    Stop,
    /// It had written as much as it might.
    Length,
    /// Its context was full.
    Context,
}

impl FinishReason {
    /// The name in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Context => "context",
        }
    }
}

impl fmt::Display for FinishReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
