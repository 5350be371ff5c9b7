//! GPT-NeoX, including Pythia: parallel attention and feed-forward, partial rotary embedding, `LayerNorm`.

use serde::Deserialize;
use serde_json::Value;

use super::rope::{self, RopeFields, Turned};
use super::{Source, attention_bias, attention_scale, head, head_dim, same_rope, same_window};
use crate::error::ModelError;
use crate::spec::{
    AttentionSpec, BlockSpec, DecoderSpec, MlpBias, MlpGate, MlpSpec, NormKind, NormPlacement, NormSpec, NormWeight,
    QueryKeyNorm, Residuals, WeightLayout,
};

/// `config.json` with `"model_type": "gpt_neox"`. Defaults follow transformers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GptNeoXConfig {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    #[serde(default = "default_activation")]
    hidden_act: String,
    max_position_embeddings: usize,
    #[serde(default = "super::default_epsilon")]
    layer_norm_eps: f64,
    rotary_emb_base: Option<f64>,
    rotary_pct: Option<f64>,
    partial_rotary_factor: Option<f64>,
    rope_theta: Option<f64>,
    rope_scaling: Option<RopeFields>,
    rope_parameters: Option<RopeFields>,
    #[serde(default = "super::default_true")]
    use_parallel_residual: bool,
    #[serde(default = "super::default_true")]
    attention_bias: bool,
    #[serde(default)]
    tie_word_embeddings: bool,
    // The keys below belong to training and classification heads.
    #[serde(rename = "hidden_dropout")]
    _hidden_dropout: Option<Value>,
    #[serde(rename = "classifier_dropout")]
    _classifier_dropout: Option<Value>,
    #[serde(rename = "is_decoder")]
    _is_decoder: Option<bool>,
}

fn default_activation() -> String {
    "gelu".to_owned()
}

impl GptNeoXConfig {
    pub(super) fn resolve(self, source: &Source) -> Result<DecoderSpec, ModelError> {
        let head_dim = head_dim(None, self.hidden_size, self.num_attention_heads);
        let part = self.rotary_pct.or(self.partial_rotary_factor).unwrap_or(0.25);
        let theta = self.rotary_emb_base.or(self.rope_theta);
        let (scaling, parameters) = (self.rope_scaling, self.rope_parameters);
        let rope = rope::resolve(source, head_dim, Turned::Part(part), theta, scaling, parameters)?;
        let residuals = if self.use_parallel_residual { Residuals::Parallel } else { Residuals::Sequential };
        Ok(DecoderSpec {
            model_type: "gpt_neox".to_owned(),
            vocab_size: self.vocab_size,
            d_model: self.hidden_size,
            n_blocks: self.num_hidden_layers,
            context_length: self.max_position_embeddings,
            embedding_scale: None,
            block: BlockSpec { norms: NormPlacement::Before, residuals },
            attention: AttentionSpec {
                n_heads: self.num_attention_heads,
                n_kv_heads: self.num_attention_heads,
                head_dim,
                scale: attention_scale(head_dim),
                bias: attention_bias(self.attention_bias),
                query_key_norm: QueryKeyNorm::None,
                soft_cap: None,
            },
            windows: same_window(self.num_hidden_layers, None),
            positions: same_rope(self.num_hidden_layers, rope),
            mlp: MlpSpec {
                d_mlp: self.intermediate_size,
                activation: source.activation("hidden_act", &self.hidden_act)?,
                gate: MlpGate::Plain,
                bias: MlpBias::All,
            },
            norm: NormSpec { kind: NormKind::Layer, epsilon: self.layer_norm_eps, weight: NormWeight::Wide },
            head: head(self.tie_word_embeddings),
            logit_soft_cap: None,
            layout: WeightLayout::GptNeoX,
        })
    }
}
