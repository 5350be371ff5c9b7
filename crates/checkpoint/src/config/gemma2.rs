//! Gemma 2: Gemma with post-norms, soft caps on scores and logits, and a sliding window in every other layer.

use super::gemma::gemma_like;
use super::keys::Keys;
use super::layer_types::{self, DEFAULT_WINDOW};
use crate::error::CheckpointError;
use crate::spec::{DecoderSpec, NormPlacement};

pub(super) fn read(keys: &mut Keys) -> Result<DecoderSpec, CheckpointError> {
    let mut spec = capped_gemma(keys, "gemma2", [Some(50.0), Some(30.0)])?;
    let types = layer_types::read(keys, spec.n_blocks, |layer| layer % 2 == 0)?;
    let window = keys.take_or("sliding_window", DEFAULT_WINDOW)?;
    // The released 9B and 27B say the window twice. transformers reads `sliding_window`.
    if let Some(other) = keys.take::<usize>("sliding_window_size")?.filter(|other| window != Some(*other)) {
        let expected = window.map_or_else(|| "null".to_owned(), |window| window.to_string());
        let advice = "sliding_window, which transformers reads, says so. Remove the wrong one of the two";
        return Err(keys.unsupported("sliding_window_size", &other.to_string(), &expected, advice));
    }
    spec.windows = layer_types::windows(&types, window);
    Ok(spec)
}

/// What Gemma 2 and 3 share. `caps` are the soft caps of scores and logits where the file does not have the keys.
pub(super) fn capped_gemma(
    keys: &mut Keys,
    model_type: &str,
    [score_cap, logit_cap]: [Option<f64>; 2],
) -> Result<DecoderSpec, CheckpointError> {
    keys.require(&["query_pre_attn_scalar"])?;
    let mut spec = gemma_like(keys, model_type)?;
    spec.block.norms = NormPlacement::Around;
    if let Some(scalar) = keys.positive("query_pre_attn_scalar", None)? {
        spec.attention.scale = scalar.powf(-0.5);
    }
    spec.attention.soft_cap = keys.positive("attn_logit_softcapping", score_cap)?;
    spec.logit_soft_cap = keys.positive("final_logit_softcapping", logit_cap)?;
    Ok(spec)
}
