//! What the forward pass says of each token beyond its activations.

/// A model's predictions over the rows of a shard. The row of a token predicts the token after it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predictions {
    /// Cross-entropy of the next token, in nats, `[rows]`; NaN in the last row of a sequence, which has no next token
    /// (null on disk).
    pub loss: Vec<f32>,
    /// Logarithm of the sum of the exponentials of all logits, `[rows]`.
    pub logsumexp: Vec<f32>,
    /// Entropy of the predicted distribution, in nats, `[rows]`.
    pub entropy: Vec<f32>,
    /// How many of the highest logits are kept; 0 for none.
    pub top_k: usize,
    /// The tokens with the highest logits, `[rows, top_k]`.
    pub top_ids: Vec<u32>,
    /// Their logits, falling, `[rows, top_k]`.
    pub top_logits: Vec<f32>,
}

impl Predictions {
    /// Checks that there are `rows` rows of each kept column.
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
