//! One row of a rollouts file.

use hayloft_model::FinishReason;

/// An instruction and what the model answered: a row of a rollouts file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutRow {
    /// The instruction's place among all rows of the data manifest's files, from 0.
    pub row: u64,
    /// What the user says.
    pub instruction: String,
    /// The instruction in the template, up to where the model goes on, without the BOS that begins the sequence.
    pub prompt: String,
    /// The tokens that the model read, BOS included.
    pub prompt_token_ids: Vec<u32>,
    /// What it answered, without special tokens.
    pub rollout: String,
    /// The tokens that it answered with, without the one that ended its turn.
    pub rollout_token_ids: Vec<u32>,
    /// Why there are no more.
    pub finish_reason: FinishReason,
}
