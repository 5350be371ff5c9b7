//! Location of the decoder's weights in stored tensors.

/// A stored tensor and the piece of it to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Name in the file.
    pub name: String,
    /// Shape of the whole tensor.
    pub shape: Vec<usize>,
    /// The piece.
    pub cut: Cut,
}

/// A piece of a tensor. Matrices are `[out, in]` after the cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// All of it.
    Whole,
    /// A range of outputs of a matrix `[out, in]` or of a bias.
    Outputs {
        /// The first of them.
        first: usize,
        /// Their number.
        count: usize,
    },
    /// A range of outputs of a matrix stored as `[in, out]`.
    Transposed {
        /// The first of them.
        first: usize,
        /// Their number.
        count: usize,
    },
    /// One of the three parts of outputs laid out as `[heads, 3, head_dim]`.
    OfEachHead {
        /// Number of heads.
        heads: usize,
        /// Index of the part.
        place: usize,
    },
}

/// A part of a block that has weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockPart {
    /// The norm before attention.
    AttentionNorm,
    /// The query projection.
    Query,
    /// The key projection.
    Key,
    /// The value projection.
    Value,
    /// The norm of queries.
    QueryNorm,
    /// The norm of keys.
    KeyNorm,
    /// The output projection of attention.
    Output,
    /// The norm after attention.
    AttentionPostNorm,
    /// The norm before the feed-forward part.
    MlpNorm,
    /// The gate of the feed-forward part.
    Gate,
    /// The projection into the hidden layer.
    Up,
    /// The projection out of the hidden layer.
    Down,
    /// The norm after the feed-forward part.
    MlpPostNorm,
}
