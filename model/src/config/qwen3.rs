//! Qwen3: each head of query and key is normed by itself.

use serde::Deserialize;

use super::layer_types::{self, LayerType};
use super::rope::{self, RopeFields, Turned};
use super::{Source, attention_scale, head_dim, same_rope};
use crate::ModelError;
use crate::spec::{
    AttentionBias, AttentionSpec, BlockSpec, DecoderSpec, HeadWeights, MlpBias, MlpGate, MlpSpec, NormKind, NormSpec,
    NormWeight, QueryKeyNorm, WeightLayout,
};

/// `config.json` with `"model_type": "qwen3"`. Defaults are those of transformers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Qwen3Config {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    #[serde(default = "default_head_dim")]
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
    #[serde(default = "super::qwen2::default_window_layers")]
    max_window_layers: usize,
    layer_types: Option<Vec<LayerType>>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    tie_word_embeddings: bool,
}

/// Qwen3's heads have this width whatever the model's.
#[expect(clippy::unnecessary_wraps, reason = "serde wants the default of the field's own type")]
fn default_head_dim() -> Option<usize> {
    Some(128)
}

impl Qwen3Config {
    pub(super) fn resolve(self, source: &Source) -> Result<DecoderSpec, ModelError> {
        let Self {
            vocab_size,
            hidden_size,
            intermediate_size,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads,
            head_dim: named_head_dim,
            hidden_act,
            max_position_embeddings,
            rms_norm_eps,
            rope_theta,
            rope_scaling,
            rope_parameters,
            use_sliding_window,
            sliding_window,
            max_window_layers,
            layer_types,
            attention_bias,
            tie_word_embeddings,
        } = self;
        let window = sliding_window.filter(|_| use_sliding_window);
        let slides = |layer| window.is_some() && layer >= max_window_layers;
        let layer_types = layer_types::resolve(source, layer_types, num_hidden_layers, slides)?;
        let head_dim = head_dim(named_head_dim, hidden_size, num_attention_heads);
        Ok(DecoderSpec {
            model_type: "qwen3".to_owned(),
            vocab_size,
            d_model: hidden_size,
            n_blocks: num_hidden_layers,
            context_length: max_position_embeddings,
            embedding_scale: None,
            block: BlockSpec::PRE_NORM,
            attention: AttentionSpec {
                n_heads: num_attention_heads,
                n_kv_heads: num_key_value_heads.unwrap_or(num_attention_heads),
                head_dim,
                scale: attention_scale(head_dim),
                bias: if attention_bias { AttentionBias::All } else { AttentionBias::None },
                query_key_norm: QueryKeyNorm::EachHead,
                soft_cap: None,
            },
            windows: layer_types::windows(&layer_types, window),
            positions: same_rope(
                num_hidden_layers,
                rope::resolve(source, head_dim, Turned::WholeHead, rope_theta, rope_scaling, rope_parameters)?,
            ),
            mlp: MlpSpec {
                d_mlp: intermediate_size,
                activation: source.activation("hidden_act", &hidden_act)?,
                gate: MlpGate::Gated,
                bias: MlpBias::None,
            },
            norm: NormSpec { kind: NormKind::RootMeanSquare, epsilon: rms_norm_eps, weight: NormWeight::Plain },
            head: if tie_word_embeddings { HeadWeights::Tied } else { HeadWeights::Own },
            logit_soft_cap: None,
            layout: WeightLayout::Llama,
        })
    }
}
