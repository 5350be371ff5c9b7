//! Gemma 2: Gemma with post-norms, soft caps on scores and logits, and a sliding window in every other layer.

use serde::Deserialize;

use super::gemma::{check_activation, check_causal};
use super::layer_types::{self, LayerType};
use super::rope::{self, RopeFields, Turned};
use super::{Source, attention_bias, head, same_rope};
use crate::error::ModelError;
use crate::spec::{
    Activation, AttentionSpec, BlockSpec, DecoderSpec, MlpBias, MlpGate, MlpSpec, NormKind, NormPlacement, NormSpec,
    NormWeight, QueryKeyNorm, Residuals, WeightLayout,
};

/// `config.json` with `"model_type": "gemma2"`. Defaults follow transformers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gemma2Config {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    head_dim: usize,
    hidden_act: Option<String>,
    hidden_activation: Option<String>,
    query_pre_attn_scalar: f64,
    /// `null` means no window; absent means the default of transformers.
    #[serde(default = "super::default_window")]
    sliding_window: Option<usize>,
    layer_types: Option<Vec<LayerType>>,
    /// `null` means none.
    #[serde(default = "default_logit_cap")]
    final_logit_softcapping: Option<f64>,
    /// `null` means none.
    #[serde(default = "default_score_cap")]
    attn_logit_softcapping: Option<f64>,
    /// Setting of the reference's cache. No effect on results.
    #[serde(rename = "cache_implementation")]
    _cache_implementation: Option<String>,
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

#[expect(clippy::unnecessary_wraps, reason = "serde wants the default of the field's own type")]
fn default_logit_cap() -> Option<f64> {
    Some(30.0)
}

#[expect(clippy::unnecessary_wraps, reason = "serde wants the default of the field's own type")]
fn default_score_cap() -> Option<f64> {
    Some(50.0)
}

impl Gemma2Config {
    pub(super) fn resolve(self, source: &Source) -> Result<DecoderSpec, ModelError> {
        check_causal(source, self.use_bidirectional_attention)?;
        check_activation(source, self.hidden_act.as_deref(), self.hidden_activation.as_deref())?;
        source.check_positive("query_pre_attn_scalar", Some(self.query_pre_attn_scalar))?;
        source.check_positive("final_logit_softcapping", self.final_logit_softcapping)?;
        source.check_positive("attn_logit_softcapping", self.attn_logit_softcapping)?;
        let layer_types =
            layer_types::resolve(source, self.layer_types, self.num_hidden_layers, |layer| layer % 2 == 0)?;
        Ok(DecoderSpec {
            model_type: "gemma2".to_owned(),
            vocab_size: self.vocab_size,
            d_model: self.hidden_size,
            n_blocks: self.num_hidden_layers,
            context_length: self.max_position_embeddings,
            embedding_scale: Some((self.hidden_size as f64).sqrt()),
            block: BlockSpec { norms: NormPlacement::Around, residuals: Residuals::Sequential },
            attention: AttentionSpec {
                n_heads: self.num_attention_heads,
                n_kv_heads: self.num_key_value_heads,
                head_dim: self.head_dim,
                scale: self.query_pre_attn_scalar.powf(-0.5),
                bias: attention_bias(self.attention_bias),
                query_key_norm: QueryKeyNorm::None,
                soft_cap: self.attn_logit_softcapping,
            },
            windows: layer_types::windows(&layer_types, self.sliding_window),
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
            logit_soft_cap: self.final_logit_softcapping,
            layout: WeightLayout::Llama,
        })
    }
}
