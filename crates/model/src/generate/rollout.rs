//! Input and output of generation.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::ModelError;

/// A prompt to continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PromptRow<'tokens> {
    /// The row number, which selects the row's random numbers and identifies it in messages.
    pub row: u64,
    /// The tokens, BOS included. At least one.
    pub tokens: &'tokens [u32],
}

/// The continuation of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// The new tokens, without the final stop token.
    pub tokens: Vec<u32>,
    /// Why it ended.
    pub finish: FinishReason,
}

/// Why a rollout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FinishReason {
    /// The model chose a stop token.
    Stop,
    /// It reached the maximum length.
    Length,
    /// Prompt and rollout fill the context.
    Context,
}

impl FinishReason {
    /// Name used in files.
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

impl FromStr for FinishReason {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        match name {
            "stop" => Ok(Self::Stop),
            "length" => Ok(Self::Length),
            "context" => Ok(Self::Context),
            _ => Err(ModelError::Input {
                problem: format!("finish reason: expected stop, length or context, got {name:?}"),
            }),
        }
    }
}
