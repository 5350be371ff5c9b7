//! Phi-3 and Phi-4: Llama with fused query, key and value, and fused gate and up.

use super::keys::Keys;
use super::rope::Rotated;
use super::start::{llama_like, same_window};
use crate::error::CheckpointError;
use crate::spec::{DecoderSpec, WeightLayout};

pub(super) fn read(keys: &mut Keys) -> Result<DecoderSpec, CheckpointError> {
    keys.only("attention_bias", false, "Phi-3 has no biases in its attention")?;
    // Switches of Phi-4-mini's files, for code of their authors.
    keys.only("lm_head_bias", false, "Phi-3 has no bias in its head")?;
    keys.only("mlp_bias", false, "Phi-3 has no biases in its feed-forward part")?;
    keys.only_default("full_attn_mod", 1)?;
    keys.only_default("interpolate_factor", 1)?;
    keys.default("rms_norm_eps", 1e-5);
    keys.default("original_max_position_embeddings", 4096);
    let part = keys.take("partial_rotary_factor")?.unwrap_or(1.0);
    let mut spec = llama_like(keys, "phi3", Rotated::Part(part))?;
    spec.windows = same_window(spec.n_blocks, keys.take("sliding_window")?);
    spec.layout = WeightLayout::Phi3;
    Ok(spec)
}
