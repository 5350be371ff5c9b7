//! The residual stream on its way through the model.

use tch::{Device, Kind, Tensor};

use crate::error::ModelError;

/// The residual stream, stopped between two blocks.
#[derive(Debug)]
pub struct Residual {
    /// `[batch, pos, d_model]`, in the decoder's precision, on its device.
    pub stream: Tensor,
    /// The block that it is about to enter; the number of blocks means the final norm.
    pub block: usize,
}

/// Where in their sequences the columns of a batch lie. Sequences are padded on the right, if at all, so where all
/// start at 0 one description serves every row, and under the causal mask padding needs no mask of its own. Rows that go
/// on from a [cache](crate::KeyValueCache) have each a start of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Positions<'rows> {
    /// The position of each row's first column; `None` where it is 0 in every row.
    starts: Option<&'rows [usize]>,
    length: usize,
}

impl Positions<'static> {
    /// Every sequence of the batch starts at position 0 and has `length` columns.
    pub fn from_start(length: usize) -> Self {
        Self { starts: None, length }
    }
}

impl<'rows> Positions<'rows> {
    /// Row `r` starts at position `starts[r]`; each has `length` columns.
    pub(crate) fn from_each(starts: &'rows [usize], length: usize) -> Self {
        Self { starts: Some(starts), length }
    }

    /// The number of columns.
    pub fn length(self) -> usize {
        self.length
    }

    /// The positions as numbers of a kind, `[pos]` where they are the same in every row, else `[batch, pos]`.
    pub(crate) fn numbers(self, kind: Kind, device: Device) -> Result<Tensor, ModelError> {
        let columns = Tensor::f_arange(self.length as i64, (kind, device))?;
        let Some(starts) = self.starts else { return Ok(columns) };
        let starts: Vec<i64> = starts.iter().map(|&start| start as i64).collect();
        let starts = Tensor::f_from_slice(&starts)?.f_to_device(device)?.f_to_kind(kind)?;
        Ok(starts.f_unsqueeze(-1)?.f_add(&columns)?)
    }
}
