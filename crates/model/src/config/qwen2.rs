//! Qwen1.5, Qwen2 and Qwen2.5: biases on query, key and value, and optional windows on the upper layers.

use serde::Deserialize;

use super::layer_types::{self, LayerType};
use super::rope::{self, RopeFields, Turned};
use super::{Source, attention_scale, head, head_dim, same_rope};
use crate::error::ModelError;
use crate::spec::{
    AttentionBias, AttentionSpec, BlockSpec, DecoderSpec, MlpBias, MlpGate, MlpSpec, NormKind, NormSpec, NormWeight,
    QueryKeyNorm, WeightLayout,
};

/// `config.json` with `"model_type": "qwen2"`. Defaults follow transformers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Qwen2Config {
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
    #[serde(default)]
    use_sliding_window: bool,
    #[serde(default = "super::default_window")]
    sliding_window: Option<usize>,
    #[serde(default = "default_window_layers")]
    max_window_layers: usize,
    layer_types: Option<Vec<LayerType>>,
    #[serde(default)]
    use_mrope: bool,
    #[serde(default)]
    tie_word_embeddings: bool,
}

pub(super) fn default_window_layers() -> usize {
    28
}

impl Qwen2Config {
    pub(super) fn resolve(self, source: &Source) -> Result<DecoderSpec, ModelError> {
        if self.use_mrope {
            let advice = "Multimodal rotary embedding is not computed here";
            return Err(source.unsupported("use_mrope", "true", "false", advice));
        }
        let window = self.sliding_window.filter(|_| self.use_sliding_window);
        let windows = layer_types::upper_windows(
            source,
            self.layer_types,
            self.num_hidden_layers,
            window,
            self.max_window_layers,
        )?;
        let head_dim = head_dim(self.head_dim, self.hidden_size, self.num_attention_heads);
        Ok(DecoderSpec {
            model_type: "qwen2".to_owned(),
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
                bias: AttentionBias::Inputs,
                query_key_norm: QueryKeyNorm::None,
                soft_cap: None,
            },
            windows,
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
