//! `OLMo` 2: post-norms only, and query and key norms over all heads together.

use serde::Deserialize;

use super::rope::{self, RopeFields, Turned};
use super::{Source, attention_bias, attention_scale, head, head_dim, same_rope, same_window};
use crate::error::ModelError;
use crate::spec::{
    AttentionSpec, BlockSpec, DecoderSpec, MlpBias, MlpGate, MlpSpec, NormKind, NormPlacement, NormSpec, NormWeight,
    QueryKeyNorm, Residuals, WeightLayout,
};

/// `config.json` with `"model_type": "olmo2"`. Defaults follow transformers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Olmo2Config {
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
    rope_scaling: Option<RopeFields>,
    rope_parameters: Option<RopeFields>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    tie_word_embeddings: bool,
}

impl Olmo2Config {
    pub(super) fn resolve(self, source: &Source) -> Result<DecoderSpec, ModelError> {
        let head_dim = head_dim(self.head_dim, self.hidden_size, self.num_attention_heads);
        let (scaling, parameters) = (self.rope_scaling, self.rope_parameters);
        let rope = rope::resolve(source, head_dim, Turned::WholeHead, self.rope_theta, scaling, parameters)?;
        Ok(DecoderSpec {
            model_type: "olmo2".to_owned(),
            vocab_size: self.vocab_size,
            d_model: self.hidden_size,
            n_blocks: self.num_hidden_layers,
            context_length: self.max_position_embeddings,
            embedding_scale: None,
            block: BlockSpec { norms: NormPlacement::Behind, residuals: Residuals::Sequential },
            attention: AttentionSpec {
                n_heads: self.num_attention_heads,
                n_kv_heads: self.num_key_value_heads.unwrap_or(self.num_attention_heads),
                head_dim,
                scale: attention_scale(head_dim),
                bias: attention_bias(self.attention_bias),
                query_key_norm: QueryKeyNorm::AllHeads,
                soft_cap: None,
            },
            windows: same_window(self.num_hidden_layers, None),
            positions: same_rope(self.num_hidden_layers, rope),
            mlp: MlpSpec {
                d_mlp: self.intermediate_size,
                activation: source.activation("hidden_act", &self.hidden_act)?,
                gate: MlpGate::Gated,
                bias: MlpBias::None,
            },
            norm: NormSpec { kind: NormKind::RootMeanSquare, epsilon: self.rms_norm_eps, weight: NormWeight::Wide },
            head: head(self.tie_word_embeddings),
            logit_soft_cap: None,
            layout: WeightLayout::Llama,
        })
    }
}
