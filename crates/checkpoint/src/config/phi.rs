//! Phi-1, 1.5 and 2: parallel attention and feed-forward behind one norm, partial rotary embedding, biases everywhere.

use super::keys::Keys;
use super::rope::Rotated;
use super::start::{gpt_like, rotary};
use crate::error::CheckpointError;
use crate::spec::{DecoderSpec, Residuals, WeightLayout};

pub(super) fn read(keys: &mut Keys) -> Result<DecoderSpec, CheckpointError> {
    keys.only("qk_layernorm", false, "Norms of queries and keys are not computed here for Phi")?;
    keys.require(&["intermediate_size"])?;
    keys.default("hidden_act", "gelu_new");
    let part = keys.take("partial_rotary_factor")?.unwrap_or(0.5);
    let mut spec = gpt_like(keys, "phi")?;
    spec.attention.n_kv_heads = keys.take("num_key_value_heads")?.unwrap_or(spec.attention.n_heads);
    spec.block.residuals = Residuals::Parallel;
    spec.head_bias = true;
    spec.positions = rotary(keys, &spec, Rotated::Part(part))?;
    spec.layout = WeightLayout::Phi;
    Ok(spec)
}
