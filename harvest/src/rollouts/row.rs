//! One row of a rollouts file.

use hayloft_model::FinishReason;

/// A row of a rollouts file: an instruction and the model's reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutRow {
    /// The instruction's index among all rows of the data manifest's files, from 0.
    pub row: u64,
    /// The user's text.
    pub instruction: String,
    /// The rendered prompt up to the start of the reply, without the BOS of the sequence.
    pub prompt: String,
    /// The prompt's tokens, including BOS.
    pub prompt_token_ids: Vec<u32>,
    /// The reply, without special tokens.
    pub rollout: String,
    /// The reply's tokens, without the token that ended the turn.
    pub rollout_token_ids: Vec<u32>,
    /// The reason for which generation ended.
    pub finish_reason: FinishReason,
}
