//! Gemma 2: Gemma with norms behind attention and feed-forward too, caps on scores and logits, and a window on every other
//! layer.

use serde::Deserialize;

use super::gemma::check_activation;
use super::layer_types::{self, LayerType};
use super::rope::{self, RopeFields, Turned};
use super::{Source, same_rope};
use crate::ModelError;
use crate::spec::{
    Activation, AttentionBias, AttentionSpec, BlockSpec, DecoderSpec, HeadWeights, MlpBias, MlpGate, MlpSpec, NormKind,
    NormPlacement, NormSpec, NormWeight, QueryKeyNorm, Residuals, WeightLayout,
};

/// `config.json` with `"model_type": "gemma2"`. Defaults are those of transformers.
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
    /// `null` means no window; absent means transformers' default.
    #[serde(default = "super::default_window")]
    sliding_window: Option<usize>,
    layer_types: Option<Vec<LayerType>>,
    /// `null` means none.
    #[serde(default = "default_logit_cap")]
    final_logit_softcapping: Option<f64>,
    /// `null` means none.
    #[serde(default = "default_score_cap")]
    attn_logit_softcapping: Option<f64>,
    /// Of the reference's cache; it changes no number.
    #[serde(rename = "cache_implementation")]
    _cache_implementation: Option<String>,
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
            query_pre_attn_scalar,
            sliding_window,
            layer_types,
            final_logit_softcapping,
            attn_logit_softcapping,
            _cache_implementation,
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
        source.check_positive("query_pre_attn_scalar", Some(query_pre_attn_scalar))?;
        source.check_positive("final_logit_softcapping", final_logit_softcapping)?;
        source.check_positive("attn_logit_softcapping", attn_logit_softcapping)?;
        let layer_types = layer_types::resolve(source, layer_types, num_hidden_layers, |layer| layer % 2 == 0)?;
        Ok(DecoderSpec {
            model_type: "gemma2".to_owned(),
            vocab_size,
            d_model: hidden_size,
            n_blocks: num_hidden_layers,
            context_length: max_position_embeddings,
            embedding_scale: Some((hidden_size as f64).sqrt()),
            block: BlockSpec { norms: NormPlacement::Around, residuals: Residuals::Sequential },
            attention: AttentionSpec {
                n_heads: num_attention_heads,
                n_kv_heads: num_key_value_heads,
                head_dim,
                scale: query_pre_attn_scalar.powf(-0.5),
                bias: if attention_bias { AttentionBias::All } else { AttentionBias::None },
                query_key_norm: QueryKeyNorm::None,
                soft_cap: attn_logit_softcapping,
            },
            windows: layer_types::windows(&layer_types, sliding_window),
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
            logit_soft_cap: final_logit_softcapping,
            layout: WeightLayout::Llama,
        })
    }
}
