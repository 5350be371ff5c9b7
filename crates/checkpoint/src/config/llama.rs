//! Llama 1, 2 and 3, and checkpoints that share their configuration.

use super::keys::Keys;
use super::rope::Rotated;
use super::start::{attention_bias, llama_like};
use crate::error::CheckpointError;
use crate::spec::{DecoderSpec, MlpBias};

pub(super) fn read(keys: &mut Keys) -> Result<DecoderSpec, CheckpointError> {
    // Whether adjacent elements are rotated together, instead of the two halves of a head.
    keys.only("rope_interleaved", false, "The elements of a head would turn with others than was meant")?;
    // Conversions of Llama 1 have another name of the context length, or none.
    let older: Option<usize> = keys.take("max_sequence_length")?;
    keys.default("max_position_embeddings", older.unwrap_or(2048));
    let mut spec = llama_like(keys, "llama", Rotated::WholeHead)?;
    spec.attention.bias = attention_bias(keys, false)?;
    if keys.take_or("mlp_bias", false)? {
        spec.mlp.bias = MlpBias::All;
    }
    Ok(spec)
}
