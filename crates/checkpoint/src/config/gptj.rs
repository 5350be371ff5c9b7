//! GPT-J: parallel attention and feed-forward behind one norm, rotary embedding of adjacent elements in a part of each head, a
//! bias in the head.

use super::keys::Keys;
use super::start::{GPT2_NAMES, gpt_like, same_rope};
use crate::error::CheckpointError;
use crate::spec::{AttentionBias, DecoderSpec, Residuals, RopePairs, RopeScaling, RopeSpec, WeightLayout};

pub(super) fn read(keys: &mut Keys) -> Result<DecoderSpec, CheckpointError> {
    keys.rename(GPT2_NAMES);
    let advice = "Only the attention of the released GPT-J is computed here";
    keys.only("rotary", true, advice)?;
    keys.only("scale_attn_weights", true, advice)?;
    keys.default("hidden_act", "gelu_new");
    keys.default("max_position_embeddings", 2048);
    keys.default("rotary_dim", 64);
    let mut spec = gpt_like(keys, "gptj")?;
    spec.attention.bias = AttentionBias::None;
    spec.block.residuals = Residuals::Parallel;
    spec.head_bias = true;
    let dimensions: usize = keys.need("rotary_dim")?;
    if dimensions == 0 || dimensions > spec.attention.head_dim {
        let expected = format!("1 to {}, the width of a head", spec.attention.head_dim);
        return Err(keys.unsupported("rotary_dim", &dimensions.to_string(), &expected, "Mend the file"));
    }
    let rope = RopeSpec { theta: 1e4, dimensions, pairs: RopePairs::Adjacent, scaling: RopeScaling::None };
    spec.positions = same_rope(spec.n_blocks, rope);
    spec.layout = WeightLayout::GptJ;
    Ok(spec)
}
