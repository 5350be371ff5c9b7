//! The model's reply, as data files hold it and as a conversation takes it.

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

/// The reply before the end of the turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutReply<'reply> {
    /// Text, tokenised together with the prompt.
    Text(&'reply str),
    /// Token ids, used unchanged.
    Tokens(&'reply [u32]),
}
