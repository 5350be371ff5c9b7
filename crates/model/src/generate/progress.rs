//! Progress of a batch.

/// Result of one step of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generated {
    /// Tokens chosen, stop tokens included: one for each row of the batch.
    pub tokens: usize,
    /// Unused allowance of the rows that ended in this step, in tokens.
    pub spared: usize,
}
