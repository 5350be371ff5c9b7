//! The residual stream on its way through the model.

use tch::Tensor;

/// The residual stream, stopped between two blocks.
#[derive(Debug)]
pub struct Residual {
    /// `[batch, pos, d_model]`, in the decoder's precision, on its device.
    pub stream: Tensor,
    /// The block that it is about to enter; the number of blocks means the final norm.
    pub block: usize,
}

/// Where in their sequences the columns of a batch lie. Sequences are padded on the right, if at all, so one
/// description serves every row; under the causal mask padding needs no mask of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Positions {
    length: usize,
}

impl Positions {
    /// Every sequence of the batch starts at position 0 and has `length` columns.
    pub fn from_start(length: usize) -> Self {
        Self { length }
    }

    /// The number of columns.
    pub fn length(self) -> usize {
        self.length
    }
}
