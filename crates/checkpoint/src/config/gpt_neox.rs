//! GPT-NeoX, including Pythia: parallel attention and feed-forward, partial rotary embedding, `LayerNorm`.

use super::keys::Keys;
use super::rope::Rotated;
use super::start::{attention_bias, gpt_like, rotary};
use crate::error::CheckpointError;
use crate::spec::{DecoderSpec, Residuals, WeightLayout};

pub(super) fn read(keys: &mut Keys) -> Result<DecoderSpec, CheckpointError> {
    keys.require(&["intermediate_size"])?;
    keys.default("hidden_act", "gelu");
    let mut spec = gpt_like(keys, "gpt_neox")?;
    if keys.take_or("use_parallel_residual", true)? {
        spec.block.residuals = Residuals::Parallel;
    }
    spec.attention.bias = attention_bias(keys, true)?;
    let newer_part = keys.take("partial_rotary_factor")?;
    let part = keys.take("rotary_pct")?.or(newer_part).unwrap_or(0.25);
    if let Some(theta) = keys.take::<f64>("rotary_emb_base")? {
        keys.set("rope_theta", theta);
    }
    spec.positions = rotary(keys, &spec, Rotated::Part(part))?;
    spec.layout = WeightLayout::GptNeoX;
    Ok(spec)
}
