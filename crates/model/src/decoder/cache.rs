//! Keys and values of the tokens that have been through the model, so that a sequence grows by a token for the price
//! of a token.
//!
//! Row r of a batch keeps the key of its position p in column p, whatever the other rows do: prompts of several
//! lengths are padded on the right, as everywhere in this crate, and each row goes on in the column after its own last.
//! What padding left there is overwritten before any query may see it. Padding on the left would put all rows' newest
//! keys into one column, but move every other key of a short row to a column that depends on its batch; kernels cut
//! their sums by columns, and the row's bits would depend on its neighbours.

use tch::{Device, Kind, Tensor};

use crate::error::ModelError;
use crate::spec::AttentionSpec;

/// The keys and values of a batch of sequences, at all blocks.
#[derive(Debug)]
pub struct KeyValueCache {
    pub(super) blocks: Vec<BlockCache>,
    lengths: Vec<usize>,
    capacity: usize,
}

/// The keys and values at one block, turned already.
#[derive(Debug)]
pub(super) struct BlockCache {
    /// `[batch, capacity, n_kv_heads, head_dim]`. Zero where nothing was put, never undefined: a masked value is
    /// multiplied by zero all the same.
    keys: Tensor,
    /// `[batch, capacity, n_kv_heads, head_dim]`.
    values: Tensor,
}

impl KeyValueCache {
    pub(super) fn new(
        n_blocks: usize,
        spec: &AttentionSpec,
        batch: usize,
        capacity: usize,
        options: (Kind, Device),
    ) -> Result<Self, ModelError> {
        let shape = [batch, capacity, spec.n_kv_heads, spec.head_dim].map(|size| size as i64);
        let block =
            |_| Ok(BlockCache { keys: Tensor::f_zeros(shape, options)?, values: Tensor::f_zeros(shape, options)? });
        let blocks = (0..n_blocks).map(block).collect::<Result<_, ModelError>>()?;
        Ok(Self { blocks, lengths: vec![0; batch], capacity })
    }

    /// How many tokens each row holds, which is the position of its next one.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// The most tokens that a row can hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Makes sure that there is room for tokens `[batch, pos]`, of which the first `lengths[row]` of a row count; returns
    /// their number of columns.
    pub(super) fn check_room(&self, tokens: &Tensor, lengths: &[usize]) -> Result<usize, ModelError> {
        let wrong = |problem: String| Err(ModelError::Input { problem });
        let rows = self.lengths.len();
        let (batch, length) = tokens.size2()?;
        if batch != rows as i64 || lengths.len() != rows {
            let got = lengths.len();
            return wrong(format!("tokens: expected {rows} row(s) as in the cache, got {batch}, and {got} length(s)"));
        }
        let length = length as usize;
        if let Some(taken) = lengths.iter().find(|taken| !(1..=length).contains(*taken)) {
            return wrong(format!("tokens of a row: expected 1 to {length}, the number of columns, got {taken}"));
        }
        let longest = self.lengths.iter().copied().max().unwrap_or(0);
        let room = self.capacity.saturating_sub(longest);
        if length > room {
            return wrong(format!("tokens: expected at most {room} column(s), the room in the cache, got {length}"));
        }
        Ok(length)
    }

    /// Each row has so many tokens more.
    pub(super) fn lengthen(&mut self, by: &[usize]) {
        for (length, by) in self.lengths.iter_mut().zip(by) {
            *length += by;
        }
    }

    /// Forgets a row; the last row takes its place, as with [`Vec::swap_remove`]. Nothing but that row is copied.
    ///
    /// # Panics
    /// Where there is no such row, as with [`Vec::swap_remove`].
    pub fn swap_remove(&mut self, row: usize) -> Result<(), ModelError> {
        self.lengths.swap_remove(row);
        let last = self.lengths.len();
        for BlockCache { keys, values } in &mut self.blocks {
            for kept in [keys, values] {
                if row != last {
                    kept.f_get(row as i64)?.f_copy_(&kept.f_get(last as i64)?)?;
                }
                *kept = kept.f_narrow(0, 0, last as i64)?;
            }
        }
        Ok(())
    }
}

impl BlockCache {
    /// Puts keys and values `[batch, n_kv_heads, pos, head_dim]` at `places` `[batch * pos]`, counted through all
    /// rows' columns.
    pub(super) fn put(&mut self, keys: &Tensor, values: &Tensor, places: &Tensor) -> Result<(), ModelError> {
        for (kept, new) in [(&self.keys, keys), (&self.values, values)] {
            let new = new.f_transpose(1, 2)?.f_flatten(0, 1)?;
            let _ = kept.f_flatten(0, 1)?.f_index_copy_(0, places, &new)?;
        }
        Ok(())
    }

    /// Keys and values of the first so many columns, `[batch, n_kv_heads, columns, head_dim]` each.
    pub(super) fn first(&self, columns: i64) -> Result<(Tensor, Tensor), ModelError> {
        let first = |kept: &Tensor| kept.f_narrow(1, 0, columns)?.f_transpose(1, 2);
        Ok((first(&self.keys)?, first(&self.values)?))
    }
}
