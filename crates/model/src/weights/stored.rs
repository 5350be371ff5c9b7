//! How what the decoder takes lies in the tensors of the files.

use tch::{TchError, Tensor};

/// A tensor of a file, and the piece of it that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Its name in the file.
    pub(crate) name: String,
    /// Its whole shape.
    pub(crate) shape: Vec<usize>,
    pub(crate) cut: Cut,
}

/// Which piece of a tensor is meant. Matrices are `[out, in]` once they have been cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// All of it.
    Whole,
    /// Some outputs of a matrix `[out, in]`, or of a bias.
    Outputs { first: usize, count: usize },
    /// Some outputs of a matrix that is stored `[in, out]`.
    Transposed { first: usize, count: usize },
    /// Of outputs that lie as `[heads, 3, head_dim]`, one of the three.
    OfEachHead { heads: usize, place: usize },
}

impl Cut {
    /// The piece, contiguous; a piece of a tensor does not keep the rest alive.
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
