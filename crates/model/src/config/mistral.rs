//! Mistral 7B: Llama with, in its first version, a sliding window.

use serde::Deserialize;

use super::rope::{self, RopeFields, Turned};
use super::{Source, attention_scale, head, head_dim, same_rope, same_window};
use crate::error::ModelError;
use crate::spec::{
    AttentionBias, AttentionSpec, BlockSpec, DecoderSpec, MlpBias, MlpGate, MlpSpec, NormKind, NormSpec, NormWeight,
    QueryKeyNorm, WeightLayout,
};

/// `config.json` with `"model_type": "mistral"`. Defaults follow transformers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MistralConfig {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    head_dim: Option<usize>,
    #[serde(default = "super::default_activation")]
    hidden_act: String,
    max_position_embeddings: usize,
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_scaling: Option<RopeFields>,
    rope_parameters: Option<RopeFields>,
    /// `null` means none; absent means the default of transformers.
    #[serde(default = "super::default_window")]
    sliding_window: Option<usize>,
    #[serde(default)]
    tie_word_embeddings: bool,
}

impl MistralConfig {
    pub(super) fn resolve(self, source: &Source) -> Result<DecoderSpec, ModelError> {
        let head_dim = head_dim(self.head_dim, self.hidden_size, self.num_attention_heads);
        Ok(DecoderSpec {
            model_type: "mistral".to_owned(),
            vocab_size: self.vocab_size,
            d_model: self.hidden_size,
            n_blocks: self.num_hidden_layers,
            context_length: self.max_position_embeddings,
            embedding_scale: None,
            block: BlockSpec::PRE_NORM,
            attention: AttentionSpec {
                n_heads: self.num_attention_heads,
                n_kv_heads: self.num_key_value_heads,
                head_dim,
                scale: attention_scale(head_dim),
                bias: AttentionBias::None,
                query_key_norm: QueryKeyNorm::None,
                soft_cap: None,
            },
            windows: same_window(self.num_hidden_layers, self.sliding_window),
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
                bias: MlpBias::None,
            },
            norm: NormSpec { kind: NormKind::RootMeanSquare, epsilon: self.rms_norm_eps, weight: NormWeight::Plain },
            head: head(self.tie_word_embeddings),
            logit_soft_cap: None,
            layout: WeightLayout::Llama,
        })
    }
}
