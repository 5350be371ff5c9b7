//! Qwen1.5, Qwen2 and Qwen2.5: biases on query, key and value, and windows on the upper layers where switched on.

use serde::Deserialize;

use super::rope::{self, RopeFields};
use super::{MOST_BLOCKS, Source, attention_scale, head_dim};
use crate::ModelError;
use crate::spec::{AttentionBias, AttentionSpec, DecoderSpec, HeadWeights, MlpBias, MlpSpec, NormSpec, NormWeight};

/// `config.json` with `"model_type": "qwen2"`. Defaults are those of transformers.
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

/// How the attention of a layer is masked.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LayerType {
    FullAttention,
    SlidingAttention,
}

fn default_window_layers() -> usize {
    28
}

impl Qwen2Config {
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
            use_mrope,
            tie_word_embeddings,
        } = self;
        if use_mrope {
            let advice = "Multimodal rotary embedding is not computed here";
            return Err(source.unsupported("use_mrope", "true", "false", advice));
        }
        let layer_types = layer_types.unwrap_or_else(|| {
            let slides = |layer| use_sliding_window && layer >= max_window_layers;
            let kind = |layer| if slides(layer) { LayerType::SlidingAttention } else { LayerType::FullAttention };
            (0..num_hidden_layers.min(MOST_BLOCKS)).map(kind).collect()
        });
        if layer_types.len() != num_hidden_layers {
            let got = format!("a list of {}", layer_types.len());
            let expected = format!("one entry for each of {num_hidden_layers} layers");
            return Err(source.unsupported("layer_types", &got, &expected, "Mend the file"));
        }
        let window = sliding_window.filter(|_| use_sliding_window);
        let windows = layer_types.iter().map(|kind| match kind {
            LayerType::FullAttention => None,
            LayerType::SlidingAttention => window,
        });
        let head_dim = head_dim(named_head_dim, hidden_size, num_attention_heads);
        Ok(DecoderSpec {
            model_type: "qwen2".to_owned(),
            vocab_size,
            d_model: hidden_size,
            n_blocks: num_hidden_layers,
            context_length: max_position_embeddings,
            embedding_scale: None,
            attention: AttentionSpec {
                n_heads: num_attention_heads,
                n_kv_heads: num_key_value_heads.unwrap_or(num_attention_heads),
                head_dim,
                scale: attention_scale(head_dim),
                bias: AttentionBias::Inputs,
            },
            windows: windows.collect(),
            rope: rope::resolve(source, rope_theta, rope_scaling, rope_parameters)?,
            mlp: MlpSpec {
                d_mlp: intermediate_size,
                activation: source.activation("hidden_act", &hidden_act)?,
                bias: MlpBias::None,
            },
            norm: NormSpec { epsilon: rms_norm_eps, weight: NormWeight::Plain },
            head: if tie_word_embeddings { HeadWeights::Tied } else { HeadWeights::Own },
        })
    }
}
