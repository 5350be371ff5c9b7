//! Location of the decoder's weights in stored tensors.

use tch::{TchError, Tensor};

/// A stored tensor and the piece of it to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Name in the file.
    pub(crate) name: String,
    /// Shape of the whole tensor.
    pub(crate) shape: Vec<usize>,
    pub(crate) cut: Cut,
}

/// A piece of a tensor. Matrices are `[out, in]` after the cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// All of it.
    Whole,
    /// A range of outputs of a matrix `[out, in]` or of a bias.
    Outputs { first: usize, count: usize },
    /// A range of outputs of a matrix stored as `[in, out]`.
    Transposed { first: usize, count: usize },
    /// One of the three parts of outputs laid out as `[heads, 3, head_dim]`.
    OfEachHead { heads: usize, place: usize },
}

impl Cut {
    /// The piece, contiguous. A partial piece does not keep the whole tensor alive.
    pub(crate) fn of(self, tensor: Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::Whole => Ok(tensor),
            Self::Outputs { first, count } => tensor.f_narrow_copy(0, first as i64, count as i64),
            Self::Transposed { first, count } => {
                tensor.f_narrow(1, first as i64, count as i64)?.f_transpose(0, 1)?.f_contiguous()
            }
            Self::OfEachHead { heads, place } => {
                let mut shape = tensor.size();
                let head_dim = shape[0] / (3 * heads as i64);
                shape.splice(0..1, [heads as i64, 3, head_dim]);
                tensor.f_view(shape.as_slice())?.f_select(1, place as i64)?.f_flatten(0, 1)?.f_contiguous()
            }
        }
    }
}

/// A part of a block that has weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockPart {
    AttentionNorm,
    Query,
    Key,
    Value,
    QueryNorm,
    KeyNorm,
    Output,
    AttentionPostNorm,
    MlpNorm,
    Gate,
    Up,
    Down,
    MlpPostNorm,
}
