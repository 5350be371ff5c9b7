//! The model's reply, as data files hold it.

use hayloft_model::FinishReason;

/// The model's reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Text. Text after the end of the turn may still follow.
    Text(String),
    /// Token ids, from a rollouts file.
    Tokens {
        /// The text of the tokens.
        text: String,
        /// The ids, without the token that ended the turn.
        ids: Vec<u32>,
        /// The reason for which generation ended.
        finish_reason: FinishReason,
    },
}
