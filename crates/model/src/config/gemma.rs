//! Gemma (version 1): scaled embeddings, norm weights centred on zero, and a tanh-GELU gate.

use serde::Deserialize;

use super::rope::{self, RopeFields, Turned};
use super::{Source, attention_bias, attention_scale, head, same_rope, same_window};
use crate::error::ModelError;
use crate::spec::{
    Activation, AttentionSpec, BlockSpec, DecoderSpec, MlpBias, MlpGate, MlpSpec, NormKind, NormSpec, NormWeight,
    QueryKeyNorm, WeightLayout,
};

/// `config.json` with `"model_type": "gemma"`. Defaults follow transformers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GemmaConfig {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    head_dim: usize,
    hidden_act: Option<String>,
    hidden_activation: Option<String>,
    max_position_embeddings: usize,
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_scaling: Option<RopeFields>,
    rope_parameters: Option<RopeFields>,
    #[serde(default = "super::default_true")]
    tie_word_embeddings: bool,
    #[serde(default)]
    attention_bias: bool,
    use_bidirectional_attention: Option<bool>,
}

impl GemmaConfig {
    pub(super) fn resolve(self, source: &Source) -> Result<DecoderSpec, ModelError> {
        check_causal(source, self.use_bidirectional_attention)?;
        check_activation(source, self.hidden_act.as_deref(), self.hidden_activation.as_deref())?;
        Ok(DecoderSpec {
            model_type: "gemma".to_owned(),
            vocab_size: self.vocab_size,
            d_model: self.hidden_size,
            n_blocks: self.num_hidden_layers,
            context_length: self.max_position_embeddings,
            embedding_scale: Some((self.hidden_size as f64).sqrt()),
            block: BlockSpec::PRE_NORM,
            attention: AttentionSpec {
                n_heads: self.num_attention_heads,
                n_kv_heads: self.num_key_value_heads,
                head_dim: self.head_dim,
                scale: attention_scale(self.head_dim),
                bias: attention_bias(self.attention_bias),
                query_key_norm: QueryKeyNorm::None,
                soft_cap: None,
            },
            windows: same_window(self.num_hidden_layers, None),
            positions: same_rope(
                self.num_hidden_layers,
                rope::resolve(
                    source,
                    self.head_dim,
                    Turned::WholeHead,
                    self.rope_theta,
                    self.rope_scaling,
                    self.rope_parameters,
                )?,
            ),
            mlp: MlpSpec {
                d_mlp: self.intermediate_size,
                activation: Activation::GeluTanh,
                gate: MlpGate::Gated,
                bias: MlpBias::None,
            },
            norm: NormSpec { kind: NormKind::RootMeanSquare, epsilon: self.rms_norm_eps, weight: NormWeight::OnePlus },
            head: head(self.tie_word_embeddings),
            logit_soft_cap: None,
            layout: WeightLayout::Llama,
        })
    }
}

/// Refuses bidirectional attention, which later versions of the family's code support.
pub(super) fn check_causal(source: &Source, bidirectional: Option<bool>) -> Result<(), ModelError> {
    if bidirectional != Some(true) {
        return Ok(());
    }
    let advice = "Only causal models are computed here";
    Err(source.unsupported("use_bidirectional_attention", "true", "false or null", advice))
}

/// The released files say "gelu" but mean its tanh approximation, with which Gemma was trained.
pub(super) fn check_activation(
    source: &Source,
    hidden_act: Option<&str>,
    hidden_activation: Option<&str>,
) -> Result<(), ModelError> {
    for (key, name) in [("hidden_act", hidden_act), ("hidden_activation", hidden_activation)] {
        if let Some(name) = name.filter(|name| !matches!(*name, "gelu" | "gelu_pytorch_tanh")) {
            let advice = "Is this a model of another family?";
            return Err(source.unsupported(key, name, "gelu or gelu_pytorch_tanh", advice));
        }
    }
    Ok(())
}
