//! Llama 2 and 3, and checkpoints that share their configuration.

use serde::Deserialize;

use super::rope::{self, RopeFields, Turned};
use super::{Source, attention_bias, attention_scale, head, head_dim, same_rope, same_window};
use crate::error::ModelError;
use crate::spec::{
    AttentionSpec, BlockSpec, DecoderSpec, MlpBias, MlpGate, MlpSpec, NormKind, NormSpec, NormWeight, QueryKeyNorm,
    WeightLayout,
};

/// `config.json` with `"model_type": "llama"`. Defaults follow transformers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LlamaConfig {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    #[serde(default = "super::default_activation")]
    hidden_act: String,
    max_position_embeddings: usize,
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_scaling: Option<RopeFields>,
    rope_parameters: Option<RopeFields>,
    /// Whether adjacent elements are rotated together, instead of the two halves of a head.
    rope_interleaved: Option<bool>,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
}

impl LlamaConfig {
    pub(super) fn resolve(self, source: &Source) -> Result<DecoderSpec, ModelError> {
        if self.rope_interleaved == Some(true) {
            let advice = "The elements of a head would turn with others than was meant";
            return Err(source.unsupported("rope_interleaved", "true", "false or absent", advice));
        }
        let head_dim = head_dim(self.head_dim, self.hidden_size, self.num_attention_heads);
        Ok(DecoderSpec {
            model_type: "llama".to_owned(),
            vocab_size: self.vocab_size,
            d_model: self.hidden_size,
            n_blocks: self.num_hidden_layers,
            context_length: self.max_position_embeddings,
            embedding_scale: None,
            block: BlockSpec::PRE_NORM,
            attention: AttentionSpec {
                n_heads: self.num_attention_heads,
                n_kv_heads: self.num_key_value_heads.unwrap_or(self.num_attention_heads),
                head_dim,
                scale: attention_scale(head_dim),
                bias: attention_bias(self.attention_bias),
                query_key_norm: QueryKeyNorm::None,
                soft_cap: None,
            },
            windows: same_window(self.num_hidden_layers, None),
            positions: same_rope(
                self.num_hidden_layers,
                rope::resolve(
                    source,
                    head_dim,
                    Turned::WholeHead,
                    self.rope_theta,
                    self.rope_scaling,
                    self.rope_parameters,
                )?,
            ),
            mlp: MlpSpec {
                d_mlp: self.intermediate_size,
                activation: source.activation("hidden_act", &self.hidden_act)?,
                gate: MlpGate::Gated,
                bias: if self.mlp_bias { MlpBias::All } else { MlpBias::None },
            },
            norm: NormSpec { kind: NormKind::RootMeanSquare, epsilon: self.rms_norm_eps, weight: NormWeight::Plain },
            head: head(self.tie_word_embeddings),
            logit_soft_cap: None,
            layout: WeightLayout::Llama,
        })
    }
}
