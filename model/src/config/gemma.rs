//! Gemma (version 1): scaled embeddings, norms with weights around zero, a gate of tanh-GELU.

use serde::Deserialize;

use super::rope::{self, RopeFields, Turned};
use super::{Source, attention_scale, same_rope, same_window};
use crate::ModelError;
use crate::spec::{
    Activation, AttentionBias, AttentionSpec, BlockSpec, DecoderSpec, HeadWeights, MlpBias, MlpGate, MlpSpec, NormKind,
    NormSpec, NormWeight, QueryKeyNorm, WeightLayout,
};

/// `config.json` with `"model_type": "gemma"`. Defaults are those of transformers.
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
    #[serde(default = "default_tie")]
    tie_word_embeddings: bool,
    #[serde(default)]
    attention_bias: bool,
    use_bidirectional_attention: Option<bool>,
}

fn default_tie() -> bool {
    true
}

impl GemmaConfig {
    pub(super) fn resolve(self, source: &Source) -> Result<DecoderSpec, ModelError> {
        let Self {
            vocab_size,
            hidden_size,
            intermediate_size,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads,
            head_dim,
            hidden_act,
            hidden_activation,
            max_position_embeddings,
            rms_norm_eps,
            rope_theta,
            rope_scaling,
            rope_parameters,
            tie_word_embeddings,
            attention_bias,
            use_bidirectional_attention,
        } = self;
        if use_bidirectional_attention == Some(true) {
            let advice = "Only causal models are computed here";
            return Err(source.unsupported("use_bidirectional_attention", "true", "false or null", advice));
        }
        check_activation(source, hidden_act.as_deref(), hidden_activation.as_deref())?;
        Ok(DecoderSpec {
            model_type: "gemma".to_owned(),
            vocab_size,
            d_model: hidden_size,
            n_blocks: num_hidden_layers,
            context_length: max_position_embeddings,
            embedding_scale: Some((hidden_size as f64).sqrt()),
            block: BlockSpec::PRE_NORM,
            attention: AttentionSpec {
                n_heads: num_attention_heads,
                n_kv_heads: num_key_value_heads,
                head_dim,
                scale: attention_scale(head_dim),
                bias: if attention_bias { AttentionBias::All } else { AttentionBias::None },
                query_key_norm: QueryKeyNorm::None,
                soft_cap: None,
            },
            windows: same_window(num_hidden_layers, None),
            positions: same_rope(
                num_hidden_layers,
                rope::resolve(source, head_dim, Turned::WholeHead, rope_theta, rope_scaling, rope_parameters)?,
            ),
            mlp: MlpSpec {
                d_mlp: intermediate_size,
                activation: Activation::GeluTanh,
                gate: MlpGate::Gated,
                bias: MlpBias::None,
            },
            norm: NormSpec { kind: NormKind::RootMeanSquare, epsilon: rms_norm_eps, weight: NormWeight::OnePlus },
            head: if tie_word_embeddings { HeadWeights::Tied } else { HeadWeights::Own },
            logit_soft_cap: None,
            layout: WeightLayout::Llama,
        })
    }
}

/// The released files say "gelu" and mean its tanh approximation, which is what Gemma was trained with.
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
