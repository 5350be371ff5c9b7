//! `OLMo` 2: post-norms only, and query and key norms over all heads together.

use super::keys::Keys;
use super::rope::Rotated;
use super::start::{attention_bias, llama_like};
use crate::error::CheckpointError;
use crate::spec::{DecoderSpec, NormPlacement, NormWeight, QueryKeyNorm};

pub(super) fn read(keys: &mut Keys) -> Result<DecoderSpec, CheckpointError> {
    keys.default("rms_norm_eps", 1e-5);
    let mut spec = llama_like(keys, "olmo2", Rotated::WholeHead)?;
    spec.block.norms = NormPlacement::Behind;
    spec.attention.bias = attention_bias(keys, false)?;
    spec.attention.query_key_norm = QueryKeyNorm::AllHeads;
    spec.norm.weight = NormWeight::Wide;
    Ok(spec)
}
