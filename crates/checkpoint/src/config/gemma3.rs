//! Gemma 3, without images: Gemma 2 with query and key norms in place of soft caps, five windowed layers to each full one, and
//! one rotary embedding for each of the two types.

use serde::Deserialize;

use super::gemma2::capped_gemma;
use super::generic;
use super::keys::Keys;
use super::layer_types::{self, LayerType};
use super::rope::{self, RopeContext, RopeFields, Rotated};
use crate::error::CheckpointError;
use crate::spec::{DecoderSpec, PositionSpec, QueryKeyNorm, WeightLayout};

/// A rotary embedding for each type of layer.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TwoRopes {
    full_attention: Option<RopeFields>,
    sliding_attention: Option<RopeFields>,
}

const GLOBAL_THETA: f64 = 1e6;
const LOCAL_THETA: f64 = 1e4;

/// Every sixth layer attends to the full context.
const PATTERN: usize = 6;

pub(super) fn read(keys: &mut Keys) -> Result<DecoderSpec, CheckpointError> {
    set_defaults(keys);
    let global_theta = keys.take("rope_theta")?.unwrap_or(GLOBAL_THETA);
    let local_theta = keys.take("rope_local_base_freq")?.unwrap_or(LOCAL_THETA);
    let scaling = keys.take("rope_scaling")?;
    let TwoRopes { full_attention, sliding_attention } = keys.take("rope_parameters")?.unwrap_or_default();
    let older_pattern = keys.take("_sliding_window_pattern")?;
    let pattern = keys.take("sliding_window_pattern")?.or(older_pattern).unwrap_or(PATTERN);
    if pattern == 0 {
        let advice = "It is after how many layers one looks at all keys; Gemma 3 has 6";
        return Err(keys.unsupported("sliding_window_pattern", "0", "a whole number above 0", advice));
    }
    let mut spec = capped_gemma(keys, "gemma3_text", [None, None])?;
    let types = layer_types::read(keys, spec.n_blocks, |layer| (layer + 1) % pattern != 0)?;
    spec.windows = layer_types::windows(&types, Some(keys.take("sliding_window")?.unwrap_or(4096)));
    spec.attention.query_key_norm = QueryKeyNorm::EachHead;
    let (head_dim, context_length) = (spec.attention.head_dim, spec.context_length);
    let context = RopeContext { head_dim, rotated: Rotated::WholeHead, context_length };
    let rope = |theta, scaling, parameters| rope::resolve(keys, context, Some(theta), scaling, parameters, None);
    spec.positions = PositionSpec::Rotary {
        ropes: vec![rope(global_theta, scaling, full_attention)?, rope(local_theta, None, sliding_attention)?],
        of_block: types.iter().map(|kind| usize::from(*kind == LayerType::SlidingAttention)).collect(),
    };
    Ok(spec)
}

/// The text model of a checkpoint with an image encoder: Gemma 3 of 4B and more. Its configuration is `text_config`. Without
/// images, the encoder and the projector do not affect it.
pub(super) fn read_beside_images(keys: &mut Keys) -> Result<DecoderSpec, CheckpointError> {
    keys.ignore(&[
        "vision_config",
        "mm_tokens_per_image",
        "boi_token_id",
        "boi_token_index",
        "eoi_token_id",
        "eoi_token_index",
        "image_token_id",
        "image_token_index",
    ]);
    let tied: Option<bool> = keys.take("tie_word_embeddings")?;
    keys.enter_text_config()?;
    generic::pass_over(keys)?;
    let model_type: Option<String> = keys.take("model_type")?;
    if let Some(other) = model_type.filter(|name| name != "gemma3_text") {
        return Err(keys.unsupported("model_type", &other, "gemma3_text", "Is this a model of another family?"));
    }
    // The number type of the whole checkpoint stands outside.
    keys.ignore(&["dtype", "torch_dtype"]);
    // transformers ties by the outer key.
    let inner: Option<bool> = keys.take("tie_word_embeddings")?;
    keys.set("tie_word_embeddings", tied.or(inner).unwrap_or(true));
    let mut spec = read(keys)?;
    if let (Some(inner), Some(tied)) = (inner, tied)
        && inner != tied
    {
        let advice = "tie_word_embeddings outside of text_config says so. Remove the wrong one of the two";
        return Err(keys.unsupported("tie_word_embeddings", &inner.to_string(), &tied.to_string(), advice));
    }
    "gemma3".clone_into(&mut spec.model_type);
    spec.layout = WeightLayout::Gemma3Multimodal;
    Ok(spec)
}

/// Values of `Gemma3TextConfig` in transformers, which saves `text_config` without the keys that have them.
fn set_defaults(keys: &mut Keys) {
    keys.default("vocab_size", 262_208);
    keys.default("hidden_size", 2304);
    keys.default("intermediate_size", 9216);
    keys.default("num_hidden_layers", 26);
    keys.default("num_attention_heads", 8);
    keys.default("num_key_value_heads", 4);
    keys.default("head_dim", 256);
    keys.default("max_position_embeddings", 131_072);
    keys.default("rms_norm_eps", 1e-6);
    keys.default("query_pre_attn_scalar", 256);
}
