//! Gemma 3, text only: Gemma 2 with query and key norms in place of soft caps, five windowed layers to each full one, and
//! one rotary embedding for each of the two types.

use serde::Deserialize;

use super::gemma2::capped_gemma;
use super::keys::Keys;
use super::layer_types::{self, LayerType};
use super::rope::{self, RopeFields, Rotated};
use crate::error::ModelError;
use crate::spec::{DecoderSpec, PositionSpec, QueryKeyNorm};

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

pub(super) fn read(keys: &mut Keys) -> Result<DecoderSpec, ModelError> {
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
    let rope = |theta, scaling, parameters| {
        rope::resolve(keys, spec.attention.head_dim, Rotated::WholeHead, Some(theta), scaling, parameters)
    };
    spec.positions = PositionSpec::Rotary {
        ropes: vec![rope(global_theta, scaling, full_attention)?, rope(local_theta, None, sliding_attention)?],
        of_block: types.iter().map(|kind| usize::from(*kind == LayerType::SlidingAttention)).collect(),
    };
    Ok(spec)
}

/// Refuses a multimodal `config.json` with `"model_type": "gemma3"`, whose files also hold an image encoder.
pub(super) fn refuse_images(keys: &Keys) -> ModelError {
    let got = if keys.has("text_config") { "gemma3, a text model and an image encoder" } else { "gemma3" };
    let advice = "Save the text model by itself: Gemma3ForCausalLM.from_pretrained(...).save_pretrained(...)";
    keys.unsupported("model_type", got, "gemma3_text", advice)
}
