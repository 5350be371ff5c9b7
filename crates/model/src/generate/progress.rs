//! How far a batch has come.

/// What one step of a batch has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generated {
    /// Tokens that were chosen, stop tokens included: one for each row that was in the batch.
    pub tokens: usize,
    /// Tokens that rows could have taken still when they ended in this step.
    pub spared: usize,
}
