//! Causal self-attention, with grouped heads and an optional window.

use tch::{Device, Kind, Tensor};

use super::Weights;
use super::linear::Linear;
use super::reach::{Earlier, Reach};
use super::rotary::Angles;
use crate::ModelError;
use crate::spec::{AttentionSpec, DecoderSpec};
use crate::weights::BlockPart;

/// One block's attention.
#[derive(Debug)]
pub(super) struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    spec: AttentionSpec,
    /// How many keys a query sees, itself included.
    window: Option<usize>,
}

impl Attention {
    pub(super) fn load(spec: &DecoderSpec, block: usize, weights: &Weights<'_>) -> Result<Self, ModelError> {
        Ok(Self {
            query: Linear::load(BlockPart::Query, spec, block, weights)?,
            key: Linear::load(BlockPart::Key, spec, block, weights)?,
            value: Linear::load(BlockPart::Value, spec, block, weights)?,
            output: Linear::load(BlockPart::Output, spec, block, weights)?,
            spec: spec.attention.clone(),
            window: spec.windows[block],
        })
    }

    /// `[batch, pos, d_model]` in and out.
    pub(super) fn forward(&self, stream: &Tensor, angles: &Angles, reach: Reach<'_>) -> Result<Tensor, ModelError> {
        let AttentionSpec { n_heads, n_kv_heads, head_dim, .. } = self.spec;
        let (batch, length, _) = stream.size3()?;
        let heads = |projected: Tensor, heads: usize| {
            projected.f_view([batch, length, heads as i64, head_dim as i64])?.f_transpose(1, 2)
        };
        let query = angles.turn(&heads(self.query.forward(stream)?, n_heads)?)?;
        let key = angles.turn(&heads(self.key.forward(stream)?, n_kv_heads)?)?;
        let value = heads(self.value.forward(stream)?, n_kv_heads)?;

        let mixed = match reach {
            Reach::Batch => self.within(&query, &key, &value)?,
            Reach::Kept(cache, extension) => {
                cache.put(&key, &value, &extension.places)?;
                match &extension.earlier {
                    None => self.within(&query, &key, &value)?,
                    Some(earlier) => {
                        let (keys, values) = cache.first(earlier.columns)?;
                        self.across(&query, &keys, &values, earlier)?
                    }
                }
            }
        };
        let joined = mixed.f_transpose(1, 2)?.f_reshape([batch, length, (n_heads * head_dim) as i64])?;
        self.output.forward(&joined)
    }

    /// Queries and keys of one batch, which starts every sequence: query `[batch, n_heads, pos, head_dim]`, key and
    /// value `[batch, n_kv_heads, pos, head_dim]` → `[batch, n_heads, pos, head_dim]`.
    fn within(&self, query: &Tensor, key: &Tensor, value: &Tensor) -> Result<Tensor, ModelError> {
        let AttentionSpec { n_heads, n_kv_heads, scale, .. } = self.spec;
        let length = query.size4()?.2;
        let mask = match self.window {
            Some(window) if (window as i64) < length => Some(window_mask(length, window, query.device())?),
            _ => None,
        };
        let is_causal = mask.is_none();
        let grouped = n_heads != n_kv_heads;
        Ok(Tensor::f_scaled_dot_product_attention(query, key, value, mask, 0.0, is_causal, scale, grouped)?)
    }

    /// Queries `[batch, n_heads, pos, head_dim]` over the keys and values of a cache, `[batch, n_kv_heads, columns,
    /// head_dim]` → `[batch, n_heads, pos, head_dim]`.
    fn across(&self, query: &Tensor, keys: &Tensor, values: &Tensor, earlier: &Earlier) -> Result<Tensor, ModelError> {
        let AttentionSpec { n_kv_heads, scale, .. } = self.spec;
        let (batch, n_heads, length, head_dim) = query.size4()?;
        let n_kv_heads = n_kv_heads as i64;
        let grouped = query.f_reshape([batch, n_kv_heads, n_heads / n_kv_heads * length, head_dim])?;
        let mask = earlier.mask(self.window);
        let mixed = Tensor::f_scaled_dot_product_attention(&grouped, keys, values, mask, 0.0, false, scale, false)?;
        Ok(mixed.f_reshape([batch, n_heads, length, head_dim])?)
    }
}

/// `[pos, pos]`, true where a query (row) may see a key (column): the key is not after it, and fewer than `window`
/// places before it.
fn window_mask(length: i64, window: usize, device: Device) -> Result<Tensor, ModelError> {
    let all = Tensor::f_ones([length, length], (Kind::Bool, device))?;
    Ok(all.f_tril(0)?.f_triu(1 - window as i64)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_of_two_sees_itself_and_one_before() {
        let mask = window_mask(4, 2, Device::Cpu).unwrap();
        let seen: Vec<Vec<bool>> = Vec::try_from(mask).unwrap();
        let expected = [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]];
        assert_eq!(seen, expected.map(|row| row.map(|cell| cell == 1).to_vec()));
    }
}
