//! Key-value cache: a sequence grows by a token at the cost of a token.
//!
//! Row r of a batch keeps the key of position p in column p, independent of the other rows. Prompts of different lengths are
//! padded on the right, as everywhere in this crate, and each row continues in the column after its last token. Keys of
//! padding are overwritten before any query may see them. Left padding would put the newest keys of all rows into one
//! column, but would shift the other keys of a short row by an amount that depends on its batch. Kernels split their sums by
//! columns, so that the bits of a row would depend on its neighbours.

use hayloft_checkpoint::AttentionSpec;
use tch::{Device, Kind, Tensor};

use crate::error::ModelError;

/// The keys and values of a batch of sequences, for all blocks.
#[derive(Debug)]
pub struct KeyValueCache {
    pub(super) blocks: Vec<BlockCache>,
    lengths: Vec<usize>,
    capacity: usize,
}

/// The keys, already rotated, and values of one block.
#[derive(Debug)]
pub(super) struct BlockCache {
    /// `[batch, capacity, n_kv_heads, head_dim]`. Initialised to zero, because masked values are still multiplied by zero.
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

    /// Number of tokens in each row, which is the position of its next token.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// The most tokens per row.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Checks that there is room for tokens `[batch, pos]`, of which the first `lengths[row]` of each row are real. Returns
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

    /// Adds to the length of each row.
    pub(super) fn lengthen(&mut self, by: &[usize]) {
        for (length, by) in self.lengths.iter_mut().zip(by) {
            *length += by;
        }
    }

    /// Removes a row and moves the last row into its place, as [`Vec::swap_remove`] does. Only the moved row is copied.
    ///
    /// # Panics
    /// If the row is out of bounds.
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
    /// Stores keys and values `[batch, n_kv_heads, pos, head_dim]` at `places` `[batch * pos]`, flat indices over the
    /// columns of all rows.
    pub(super) fn put(&mut self, keys: &Tensor, values: &Tensor, places: &Tensor) -> Result<(), ModelError> {
        for (kept, new) in [(&self.keys, keys), (&self.values, values)] {
            let new = new.f_transpose(1, 2)?.f_flatten(0, 1)?;
            let _ = kept.f_flatten(0, 1)?.f_index_copy_(0, places, &new)?;
        }
        Ok(())
    }

    /// Keys and values of the first `columns` columns, `[batch, n_kv_heads, columns, head_dim]` each.
    pub(super) fn first(&self, columns: i64) -> Result<(Tensor, Tensor), ModelError> {
        let first = |kept: &Tensor| kept.f_narrow(1, 0, columns)?.f_transpose(1, 2);
        Ok((first(&self.keys)?, first(&self.values)?))
    }
}
