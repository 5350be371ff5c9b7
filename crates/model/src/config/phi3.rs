//! Phi-3: Llama with fused query, key and value, and fused gate and up.

use serde::Deserialize;
use serde_json::Value;

use super::rope::{self, RopeFields, Turned};
use super::{Source, attention_scale, head, head_dim, same_rope, same_window};
use crate::error::ModelError;
use crate::spec::{
    AttentionBias, AttentionSpec, BlockSpec, DecoderSpec, MlpBias, MlpGate, MlpSpec, NormKind, NormSpec, NormWeight,
    QueryKeyNorm, WeightLayout,
};

/// `config.json` with `"model_type": "phi3"`. Defaults follow transformers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Phi3Config {
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
    #[serde(default = "super::default_epsilon")]
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    partial_rotary_factor: Option<f64>,
    rope_scaling: Option<RopeFields>,
    rope_parameters: Option<RopeFields>,
    sliding_window: Option<usize>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    tie_word_embeddings: bool,
    /// Belongs to the long-context rotary embedding, which is refused.
    #[serde(rename = "original_max_position_embeddings")]
    _original_context: Option<Value>,
    // The keys below belong to training.
    #[serde(rename = "resid_pdrop")]
    _resid_pdrop: Option<Value>,
    #[serde(rename = "embd_pdrop")]
    _embd_pdrop: Option<Value>,
}

impl Phi3Config {
    pub(super) fn resolve(self, source: &Source) -> Result<DecoderSpec, ModelError> {
        if self.attention_bias {
            let advice = "Phi-3 has no biases in its attention";
            return Err(source.unsupported("attention_bias", "true", "false or absent", advice));
        }
        let head_dim = head_dim(self.head_dim, self.hidden_size, self.num_attention_heads);
        let part = Turned::Part(self.partial_rotary_factor.unwrap_or(1.0));
        let rope = rope::resolve(source, head_dim, part, self.rope_theta, self.rope_scaling, self.rope_parameters)?;
        Ok(DecoderSpec {
            model_type: "phi3".to_owned(),
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
                bias: AttentionBias::None,
                query_key_norm: QueryKeyNorm::None,
                soft_cap: None,
            },
            windows: same_window(self.num_hidden_layers, self.sliding_window),
            positions: same_rope(self.num_hidden_layers, rope),
            mlp: MlpSpec {
                d_mlp: self.intermediate_size,
                activation: source.activation("hidden_act", &self.hidden_act)?,
                gate: MlpGate::Gated,
                bias: MlpBias::None,
            },
            norm: NormSpec { kind: NormKind::RootMeanSquare, epsilon: self.rms_norm_eps, weight: NormWeight::Plain },
            head: head(self.tie_word_embeddings),
            logit_soft_cap: None,
            layout: WeightLayout::Phi3,
        })
    }
}
