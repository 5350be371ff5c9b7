//! Mistral 7B: Llama with, in its first version, a sliding window.

use super::keys::Keys;
use super::layer_types::DEFAULT_WINDOW;
use super::rope::Rotated;
use super::start::{llama_like, same_window};
use crate::error::CheckpointError;
use crate::spec::DecoderSpec;

pub(super) fn read(keys: &mut Keys) -> Result<DecoderSpec, CheckpointError> {
    keys.require(&["num_key_value_heads"])?;
    keys.only("attention_bias", false, "Mistral has no biases in its attention")?;
    let mut spec = llama_like(keys, "mistral", Rotated::WholeHead)?;
    spec.windows = same_window(spec.n_blocks, keys.take_or("sliding_window", DEFAULT_WINDOW)?);
    Ok(spec)
}
