//! GPT-2: learned positions, `LayerNorm`, biases on all projections, no gate.

use super::keys::Keys;
use super::start::{GPT2_NAMES, gpt_like};
use crate::error::CheckpointError;
use crate::spec::{DecoderSpec, WeightLayout};

pub(super) fn read(keys: &mut Keys) -> Result<DecoderSpec, CheckpointError> {
    keys.rename(GPT2_NAMES);
    let advice = "Only the attention of the released GPT-2 models is computed here";
    keys.only("scale_attn_weights", true, advice)?;
    keys.only("scale_attn_by_inverse_layer_idx", false, advice)?;
    // Without effect: attention runs in float32 anyway, and the others belong to other heads.
    keys.ignore(&["reorder_and_upcast_attn", "n_special", "predict_special_tokens"]);
    keys.default("hidden_act", "gelu_new");
    keys.default("tie_word_embeddings", true);
    // An older name of `n_positions`.
    let n_ctx: Option<usize> = keys.take("n_ctx")?;
    let mut spec = gpt_like(keys, "gpt2")?;
    spec.layout = WeightLayout::Gpt2;
    if let Some(other) = n_ctx.filter(|other| *other != spec.context_length) {
        let expected = format!("n_positions, {}", spec.context_length);
        return Err(keys.unsupported("n_ctx", &other.to_string(), &expected, "Mend the file"));
    }
    Ok(spec)
}
