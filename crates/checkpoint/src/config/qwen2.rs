//! Qwen1.5, Qwen2 and Qwen2.5: biases on query, key and value, and optional windows on the upper layers.

use super::keys::Keys;
use super::layer_types;
use super::rope::Rotated;
use super::start::llama_like;
use crate::error::CheckpointError;
use crate::spec::{AttentionBias, DecoderSpec};

pub(super) fn read(keys: &mut Keys) -> Result<DecoderSpec, CheckpointError> {
    keys.only("use_mrope", false, "Multimodal rotary embedding is not computed here")?;
    let mut spec = llama_like(keys, "qwen2", Rotated::WholeHead)?;
    spec.attention.bias = AttentionBias::Inputs;
    spec.windows = layer_types::upper_windows(keys, spec.n_blocks)?;
    Ok(spec)
}
