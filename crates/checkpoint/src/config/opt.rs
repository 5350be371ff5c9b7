//! OPT: learned positions from the third row of their matrix on, `LayerNorm`, biases on all projections.

use super::keys::Keys;
use super::start::gpt_like;
use crate::error::CheckpointError;
use crate::spec::{DecoderSpec, PositionSpec, WeightLayout};

/// Rows of the matrix of positions that no token uses.
const POSITION_OFFSET: usize = 2;

pub(super) fn read(keys: &mut Keys) -> Result<DecoderSpec, CheckpointError> {
    keys.rename(&[("intermediate_size", "ffn_dim"), ("hidden_act", "activation_function")]);
    keys.only("do_layer_norm_before", true, "Norms after each part, as in OPT 350M, are not computed here")?;
    keys.only("_remove_final_layer_norm", false, "OPT has a norm before its head")?;
    keys.only("enable_bias", true, "OPT has biases on all projections")?;
    keys.only("layer_norm_elementwise_affine", true, "OPT's norms have weights")?;
    keys.require(&["intermediate_size"])?;
    keys.default("hidden_act", "relu");
    keys.default("tie_word_embeddings", true);
    let mut spec = gpt_like(keys, "opt")?;
    if let Some(width) = keys.take::<usize>("word_embed_proj_dim")?.filter(|width| *width != spec.d_model) {
        let expected = format!("hidden_size, {}", spec.d_model);
        let advice = "Projected embeddings, as in OPT 350M, are not computed here";
        return Err(keys.unsupported("word_embed_proj_dim", &width.to_string(), &expected, advice));
    }
    spec.positions = PositionSpec::Learned { offset: POSITION_OFFSET };
    spec.layout = WeightLayout::Opt;
    Ok(spec)
}
