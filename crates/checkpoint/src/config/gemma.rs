//! Gemma (version 1): scaled embeddings, norm weights centred on zero, and a tanh-GELU gate.

use super::keys::Keys;
use super::rope::Rotated;
use super::start::{attention_bias, llama_like};
use crate::error::CheckpointError;
use crate::spec::{Activation, DecoderSpec, NormWeight};

pub(super) fn read(keys: &mut Keys) -> Result<DecoderSpec, CheckpointError> {
    gemma_like(keys, "gemma")
}

/// A decoder like Gemma: what its versions share.
pub(super) fn gemma_like(keys: &mut Keys, model_type: &str) -> Result<DecoderSpec, CheckpointError> {
    keys.require(&["num_key_value_heads", "head_dim"])?;
    // Later versions of the family's code support it.
    keys.only("use_bidirectional_attention", false, "Only causal models are computed here")?;
    check_activation(keys)?;
    keys.default("tie_word_embeddings", true);
    let mut spec = llama_like(keys, model_type, Rotated::WholeHead)?;
    spec.embedding_scale = Some((spec.d_model as f64).sqrt());
    spec.attention.bias = attention_bias(keys, false)?;
    spec.mlp.activation = Activation::GeluTanh;
    spec.norm.weight = NormWeight::OnePlus;
    Ok(spec)
}

/// The released files say "gelu" but mean its tanh approximation, with which Gemma was trained.
fn check_activation(keys: &mut Keys) -> Result<(), CheckpointError> {
    for key in ["hidden_act", "hidden_activation"] {
        let name: Option<String> = keys.take(key)?;
        if let Some(name) = name.filter(|name| !matches!(name.as_str(), "gelu" | "gelu_pytorch_tanh")) {
            let advice = "Is this a model of another family?";
            return Err(keys.unsupported(key, &name, "gelu or gelu_pytorch_tanh", advice));
        }
    }
    Ok(())
}
