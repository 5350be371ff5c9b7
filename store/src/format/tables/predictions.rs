//! Predictions: per-token outputs of the forward pass.

/// A model's predictions over the rows of a shard. The row of a token predicts the next token.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predictions {
    /// Cross-entropy loss of the next token, in nats, `[rows]`. NaN (null on disk) in the last row of a sequence, which
    /// has no next token.
    pub loss: Vec<f32>,
    /// Log-sum-exp of the logits, `[rows]`.
    pub logsumexp: Vec<f32>,
    /// Entropy of the predicted distribution, in nats, `[rows]`.
    pub entropy: Vec<f32>,
    /// Number of top logits stored; 0 for none.
    pub top_k: usize,
    /// Token ids of the top logits, `[rows, top_k]`.
    pub top_ids: Vec<u32>,
    /// The top logits, in descending order, `[rows, top_k]`.
    pub top_logits: Vec<f32>,
}

impl Predictions {
    /// Checks that each stored column has `rows` rows.
    pub(crate) fn check(&self, rows: usize) -> Result<(), String> {
        let lengths = [
            ("loss", self.loss.len(), rows),
            ("logsumexp", self.logsumexp.len(), rows),
            ("entropy", self.entropy.len(), rows),
            ("top_ids", self.top_ids.len(), rows * self.top_k),
            ("top_logits", self.top_logits.len(), rows * self.top_k),
        ];
        match lengths.into_iter().find(|(_, got, expected)| got != expected) {
            Some((name, got, expected)) => Err(format!("{got} values of {name}, where {expected} are due")),
            None => Ok(()),
        }
    }
}
