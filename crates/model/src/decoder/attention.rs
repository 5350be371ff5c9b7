//! Causal self-attention with grouped heads, an optional window and an optional soft cap on the scores.

use hayloft_checkpoint::{AttentionSpec, BlockPart, DecoderSpec, QueryKeyNorm};
use tch::{Device, Kind, Tensor};

use super::Weights;
use super::attention_mask::{AttendedKeys, Earlier};
use super::linear::Linear;
use super::norm::Norm;
use super::rotary::Angles;
use crate::error::ModelError;

/// Queries per block on a CPU.
const QUERY_BLOCK: i64 = 128;

/// The attention of one block.
#[derive(Debug)]
pub(super) struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    query_norm: Option<Norm>,
    key_norm: Option<Norm>,
    spec: AttentionSpec,
    /// Number of keys that a query sees, itself included.
    window: Option<usize>,
}

impl Attention {
    pub(super) fn load(spec: &DecoderSpec, block: usize, weights: &Weights<'_>) -> Result<Self, ModelError> {
        Ok(Self {
            query: Linear::load(BlockPart::Query, spec, block, weights)?,
            key: Linear::load(BlockPart::Key, spec, block, weights)?,
            value: Linear::load(BlockPart::Value, spec, block, weights)?,
            output: Linear::load(BlockPart::Output, spec, block, weights)?,
            query_norm: Norm::of_block(BlockPart::QueryNorm, spec, block, weights)?,
            key_norm: Norm::of_block(BlockPart::KeyNorm, spec, block, weights)?,
            spec: spec.attention.clone(),
            window: spec.windows[block],
        })
    }

    /// The outputs of all heads, concatenated: `[batch, pos, d_model]` → `[batch, pos, n_heads * head_dim]`. `angles` rotate
    /// queries and keys in models with rotary embeddings.
    pub(super) fn heads(
        &self,
        stream: &Tensor,
        angles: Option<&Angles>,
        attended: AttendedKeys<'_>,
    ) -> Result<Tensor, ModelError> {
        let AttentionSpec { n_heads, n_kv_heads, head_dim, .. } = self.spec;
        let (batch, length, _) = stream.size3()?;
        let query = self.turned(&self.query.forward(stream)?, n_heads, self.query_norm.as_ref(), angles)?;
        let key = self.turned(&self.key.forward(stream)?, n_kv_heads, self.key_norm.as_ref(), angles)?;
        let value = self.value.forward(stream)?.f_view([batch, length, n_kv_heads as i64, head_dim as i64])?;
        let value = value.f_transpose(1, 2)?;

        let mixed = match attended {
            AttendedKeys::Batch => self.causal(&query, &key, &value)?,
            AttendedKeys::Cached(cache, extension) => {
                cache.put(&key, &value, &extension.places)?;
                match &extension.earlier {
                    None => self.causal(&query, &key, &value)?,
                    Some(earlier) => {
                        let (keys, values) = cache.first(earlier.columns)?;
                        self.across(&query, &keys, &values, earlier)?
                    }
                }
            }
        };
        Ok(mixed.f_transpose(1, 2)?.f_reshape([batch, length, (n_heads * head_dim) as i64])?)
    }

    /// The output projection of [`heads`](Self::heads): `[batch, pos, d_model]`.
    pub(super) fn output(&self, heads: &Tensor) -> Result<Tensor, ModelError> {
        self.output.forward(heads)
    }

    /// Normalises and rotates queries or keys: `[batch, pos, heads * head_dim]` → `[batch, heads, pos, head_dim]`.
    fn turned(
        &self,
        projected: &Tensor,
        heads: usize,
        norm: Option<&Norm>,
        angles: Option<&Angles>,
    ) -> Result<Tensor, ModelError> {
        let (batch, length, _) = projected.size3()?;
        let split = |projected: &Tensor| projected.f_view([batch, length, heads as i64, self.spec.head_dim as i64]);
        let heads = match (norm, self.spec.query_key_norm) {
            (Some(norm), QueryKeyNorm::EachHead) => norm.forward(&split(projected)?)?,
            (Some(norm), _) => split(&norm.forward(projected)?)?,
            (None, _) => split(projected)?,
        };
        let heads = heads.f_transpose(1, 2)?;
        angles.map_or(Ok(heads.shallow_clone()), |angles| angles.turn(&heads))
    }

    /// Attention within a batch whose sequences all start at position 0: query `[batch, n_heads, pos, head_dim]`, key and
    /// value `[batch, n_kv_heads, pos, head_dim]` → `[batch, n_heads, pos, head_dim]`.
    ///
    /// On a CPU, each block of queries is multiplied only with the keys that some query of the block may see; the kernel
    /// skips masked keys less well.
    fn causal(&self, query: &Tensor, key: &Tensor, value: &Tensor) -> Result<Tensor, ModelError> {
        let length = query.size4()?.2;
        let block = if query.device() == Device::Cpu { QUERY_BLOCK } else { length.max(1) };
        if length <= block {
            return self.causal_block(query, key, value, 0);
        }
        let mut blocks = Vec::new();
        for first in (0..length).step_by(block as usize) {
            let count = block.min(length - first);
            let first_key = self.window.map_or(0, |window| (first + 1 - window as i64).max(0));
            let keys = first + count - first_key;
            let query = query.f_narrow(2, first, count)?;
            let (key, value) = (key.f_narrow(2, first_key, keys)?, value.f_narrow(2, first_key, keys)?);
            blocks.push(self.causal_block(&query, &key, &value, first - first_key)?);
        }
        Ok(Tensor::f_cat(&blocks, 2)?)
    }

    /// Attention of one block of queries, `[batch, n_heads, queries, head_dim]`. The first query has the position of key
    /// `offset`.
    fn causal_block(&self, query: &Tensor, key: &Tensor, value: &Tensor, offset: i64) -> Result<Tensor, ModelError> {
        let AttentionSpec { n_heads, n_kv_heads, scale, .. } = self.spec;
        let (queries, keys) = (query.size4()?.2, key.size4()?.2);
        if let Some(cap) = self.spec.soft_cap {
            let hidden = seen(queries, keys, offset, self.window, query.device())?.f_logical_not()?;
            let mask = Tensor::f_zeros([queries, keys], (query.f_kind()?, query.device()))?;
            let mask = mask.f_masked_fill(&hidden, f64::NEG_INFINITY)?;
            let spread = |kept: &Tensor| kept.f_repeat_interleave_self_int((n_heads / n_kv_heads) as i64, 1, None);
            return capped(query, &spread(key)?, &spread(value)?, &mask, scale, cap);
        }
        let windowed = self.window.is_some_and(|window| (window as i64) < keys);
        let mask =
            if windowed || offset > 0 { Some(seen(queries, keys, offset, self.window, query.device())?) } else { None };
        let is_causal = mask.is_none();
        let grouped = n_heads != n_kv_heads;
        Ok(Tensor::f_scaled_dot_product_attention(query, key, value, mask, 0.0, is_causal, scale, grouped)?)
    }

    /// Attention over a cache: queries `[batch, n_heads, pos, head_dim]`, keys and values
    /// `[batch, n_kv_heads, columns, head_dim]` → `[batch, n_heads, pos, head_dim]`.
    fn across(&self, query: &Tensor, keys: &Tensor, values: &Tensor, earlier: &Earlier) -> Result<Tensor, ModelError> {
        let AttentionSpec { n_kv_heads, scale, .. } = self.spec;
        let (batch, n_heads, length, head_dim) = query.size4()?;
        let n_kv_heads = n_kv_heads as i64;
        let grouped = query.f_reshape([batch, n_kv_heads, n_heads / n_kv_heads * length, head_dim])?;
        let mask = earlier.mask(self.window);
        if let (Some(cap), Some(mask)) = (self.spec.soft_cap, mask) {
            let mixed = capped(&grouped, keys, values, mask, scale, cap)?;
            return Ok(mixed.f_reshape([batch, n_heads, length, head_dim])?);
        }
        let mixed = Tensor::f_scaled_dot_product_attention(&grouped, keys, values, mask, 0.0, false, scale, false)?;
        Ok(mixed.f_reshape([batch, n_heads, length, head_dim])?)
    }
}

/// Attention with soft-capped scores, c · tanh(s / c), computed as in the reference; no fused kernel supports it. The query
/// is `[batch, heads, queries, head_dim]`, and key and value have as many heads. The mask is added to the scores.
fn capped(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    mask: &Tensor,
    scale: f64,
    cap: f64,
) -> Result<Tensor, ModelError> {
    let scores = query.f_matmul(&key.f_transpose(-1, -2)?)?.f_mul_scalar(scale)?;
    let scores = scores.f_div_scalar(cap)?.f_tanh()?.f_mul_scalar(cap)?.f_add(mask)?;
    let weights = scores.f_softmax(-1, Kind::Float)?.f_to_kind(query.f_kind()?)?;
    Ok(weights.f_matmul(value)?)
}

/// Causal mask `[queries, keys]`: true where a query (row) may see a key (column). The first query has the position of key
/// `offset`. A query sees itself and the keys before it, `window` in all.
fn seen(queries: i64, keys: i64, offset: i64, window: Option<usize>, device: Device) -> Result<Tensor, ModelError> {
    let causal = Tensor::f_ones([queries, keys], (Kind::Bool, device))?.f_tril(offset)?;
    Ok(match window {
        Some(window) => causal.f_triu(offset + 1 - window as i64)?,
        None => causal,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(seen: &Tensor) -> Vec<Vec<i64>> {
        Vec::try_from(seen.to_kind(Kind::Int64)).unwrap()
    }

    #[test]
    fn a_window_of_two_sees_itself_and_one_before() {
        let seen = seen(4, 4, 0, Some(2), Device::Cpu).unwrap();
        assert_eq!(rows(&seen), [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]);
    }

    #[test]
    fn a_block_of_queries_sees_what_it_would_see_among_all() {
        assert_eq!(rows(&seen(2, 4, 2, None, Device::Cpu).unwrap()), [[1, 1, 1, 0], [1, 1, 1, 1]]);
        assert_eq!(rows(&seen(2, 3, 1, Some(2), Device::Cpu).unwrap()), [[1, 1, 0], [0, 1, 1]]);
    }

    /// Sequences longer than a block of queries, against the textbook formula in float64.
    #[test]
    fn long_sequences_attend_as_short_ones_do() {
        let spec = hayloft_checkpoint::Checkpoint::read_spec(std::path::Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/fixtures/decoder/llama2"
        )))
        .unwrap();
        let AttentionSpec { n_heads, n_kv_heads, head_dim, scale, .. } = spec.attention;
        let length = 2 * QUERY_BLOCK + 5;
        let random =
            |heads: usize| Tensor::randn([2, heads as i64, length, head_dim as i64], (Kind::Float, Device::Cpu));
        let (query, key, value) = (random(n_heads), random(n_kv_heads), random(n_kv_heads));
        for window in [None, Some(3), Some(200), Some(5000)] {
            let linear = || Linear::new(Tensor::zeros([1, 1], (Kind::Float, Device::Cpu)));
            let attention = Attention {
                query: linear(),
                key: linear(),
                value: linear(),
                output: linear(),
                query_norm: None,
                key_norm: None,
                spec: spec.attention.clone(),
                window,
            };
            let got = attention.causal(&query, &key, &value).unwrap();
            let spread = |heads: &Tensor| {
                heads.to_kind(Kind::Double).repeat_interleave_self_int((n_heads / n_kv_heads) as i64, 1, None)
            };
            let scores = query.to_kind(Kind::Double).matmul(&spread(&key).transpose(-1, -2)) * scale;
            let hidden = seen(length, length, 0, window, Device::Cpu).unwrap().logical_not();
            let expected =
                scores.masked_fill(&hidden, f64::NEG_INFINITY).softmax(-1, Kind::Double).matmul(&spread(&value));
            let distance = (got.to_kind(Kind::Double) - expected).abs().max().double_value(&[]);
            assert!(distance < 2e-6, "{window:?}: {distance:e}");
        }
    }
}
