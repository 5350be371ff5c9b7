//! What the model answered, as data files hold it.

use hayloft_model::FinishReason;

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
