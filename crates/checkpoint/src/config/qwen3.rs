//! Qwen3: query and key norms per head, and heads whose width does not follow from the model's.

use super::keys::Keys;
use super::layer_types;
use super::rope::Rotated;
use super::start::{attention_bias, llama_like};
use crate::error::CheckpointError;
use crate::spec::{DecoderSpec, QueryKeyNorm};

pub(super) fn read(keys: &mut Keys) -> Result<DecoderSpec, CheckpointError> {
    keys.default("head_dim", 128);
    let mut spec = llama_like(keys, "qwen3", Rotated::WholeHead)?;
    spec.attention.bias = attention_bias(keys, false)?;
    spec.attention.query_key_norm = QueryKeyNorm::EachHead;
    spec.windows = layer_types::upper_windows(keys, spec.n_blocks)?;
    Ok(spec)
}
