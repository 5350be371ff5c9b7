//! The residual stream and token positions.

use tch::{Device, Kind, Tensor};

use crate::error::ModelError;

/// The residual stream between two blocks.
#[derive(Debug)]
pub struct Residual {
    /// `[batch, pos, d_model]`, in the decoder's precision, on its device.
    pub stream: Tensor,
    /// The next block. The number of blocks means the final norm.
    pub block: usize,
}

/// Positions of a batch's columns in their sequences. Sequences are padded on the right, if at all. Where all start at 0,
/// one description therefore serves every row, and the causal mask covers padding. Rows that continue from a
/// [cache](crate::KeyValueCache) have individual starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Positions<'rows> {
    /// Position of each row's first column. `None` if 0 in every row.
    starts: Option<&'rows [usize]>,
    length: usize,
}

impl Positions<'static> {
    /// Positions of sequences that start at 0, with `length` columns each.
    pub fn from_start(length: usize) -> Self {
        Self { starts: None, length }
    }
}

impl<'rows> Positions<'rows> {
    /// Positions of rows that start at `starts[r]`, with `length` columns each.
    pub(crate) fn from_each(starts: &'rows [usize], length: usize) -> Self {
        Self { starts: Some(starts), length }
    }

    /// Number of columns.
    pub fn length(self) -> usize {
        self.length
    }

    /// The positions as a tensor of this kind: `[pos]` if equal in every row, else `[batch, pos]`.
    pub(crate) fn as_tensor(self, kind: Kind, device: Device) -> Result<Tensor, ModelError> {
        let columns = Tensor::f_arange(self.length as i64, (kind, device))?;
        let Some(starts) = self.starts else { return Ok(columns) };
        let starts: Vec<i64> = starts.iter().map(|&start| start as i64).collect();
        let starts = Tensor::f_from_slice(&starts)?.f_to_device(device)?.f_to_kind(kind)?;
        Ok(starts.f_unsqueeze(-1)?.f_add(&columns)?)
    }
}
