//! Gemma 3, text alone: Gemma 2 with normed heads in place of caps, five windowed layers to a full one, and a rotary
//! embedding of its own for each of the two.

use serde::Deserialize;
use serde_json::Value;

use super::gemma::check_activation;
use super::layer_types::{self, LayerType};
use super::rope::{self, RopeFields, Turned};
use super::{MOST_BLOCKS, Source};
use crate::ModelError;
use crate::spec::{
    Activation, AttentionBias, AttentionSpec, BlockSpec, DecoderSpec, HeadWeights, MlpBias, MlpGate, MlpSpec, NormKind,
    NormPlacement, NormSpec, NormWeight, PositionSpec, QueryKeyNorm, Residuals, WeightLayout,
};

/// `config.json` with `"model_type": "gemma3_text"`. Defaults are those of transformers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gemma3Config {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    head_dim: usize,
    hidden_act: Option<String>,
    hidden_activation: Option<String>,
    max_position_embeddings: usize,
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_local_base_freq: Option<f64>,
    rope_scaling: Option<RopeFields>,
    rope_parameters: Option<TwoRopes>,
    query_pre_attn_scalar: f64,
    sliding_window: Option<usize>,
    sliding_window_pattern: Option<usize>,
    #[serde(rename = "_sliding_window_pattern")]
    older_window_pattern: Option<usize>,
    layer_types: Option<Vec<LayerType>>,
    final_logit_softcapping: Option<f64>,
    attn_logit_softcapping: Option<f64>,
    #[serde(default = "default_tie")]
    tie_word_embeddings: bool,
    #[serde(default)]
    attention_bias: bool,
    use_bidirectional_attention: Option<bool>,
    /// Of the reference's cache; it changes no number.
    #[serde(rename = "cache_implementation")]
    _cache_implementation: Option<String>,
}

/// A rotary embedding for each type of layer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TwoRopes {
    full_attention: Option<RopeFields>,
    sliding_attention: Option<RopeFields>,
}

const GLOBAL_THETA: f64 = 1e6;
const LOCAL_THETA: f64 = 1e4;

/// Every so many layers one is full.
const PATTERN: usize = 6;

fn default_tie() -> bool {
    true
}

impl Gemma3Config {
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
            max_position_embeddings,
            rms_norm_eps,
            rope_theta,
            rope_local_base_freq,
            rope_scaling,
            rope_parameters,
            query_pre_attn_scalar,
            sliding_window,
            sliding_window_pattern,
            older_window_pattern,
            layer_types,
            final_logit_softcapping,
            attn_logit_softcapping,
            tie_word_embeddings,
            attention_bias,
            use_bidirectional_attention,
            _cache_implementation,
        } = self;
        if use_bidirectional_attention == Some(true) {
            let advice = "Only causal models are computed here";
            return Err(source.unsupported("use_bidirectional_attention", "true", "false or null", advice));
        }
        check_activation(source, hidden_act.as_deref(), hidden_activation.as_deref())?;
        source.check_positive("query_pre_attn_scalar", Some(query_pre_attn_scalar))?;
        source.check_positive("final_logit_softcapping", final_logit_softcapping)?;
        source.check_positive("attn_logit_softcapping", attn_logit_softcapping)?;
        let pattern = sliding_window_pattern.or(older_window_pattern).unwrap_or(PATTERN);
        if pattern == 0 {
            let advice = "It is after how many layers one looks at all keys; Gemma 3 has 6";
            return Err(source.unsupported("sliding_window_pattern", "0", "a whole number above 0", advice));
        }
        let slides = |layer| (layer + 1) % pattern != 0;
        let layer_types = layer_types::resolve(source, layer_types, num_hidden_layers, slides)?;
        let TwoRopes { full_attention, sliding_attention } =
            rope_parameters.unwrap_or(TwoRopes { full_attention: None, sliding_attention: None });
        let rope = |theta: f64, scaling, parameters| {
            rope::resolve(source, head_dim, Turned::WholeHead, Some(theta), scaling, parameters)
        };
        let ropes = vec![
            rope(rope_theta.unwrap_or(GLOBAL_THETA), rope_scaling, full_attention)?,
            rope(rope_local_base_freq.unwrap_or(LOCAL_THETA), None, sliding_attention)?,
        ];
        let of_block = layer_types.iter().map(|kind| usize::from(*kind == LayerType::SlidingAttention));
        Ok(DecoderSpec {
            model_type: "gemma3_text".to_owned(),
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
                query_key_norm: QueryKeyNorm::EachHead,
                soft_cap: attn_logit_softcapping,
            },
            windows: layer_types::windows(&layer_types, Some(sliding_window.unwrap_or(4096))),
            positions: PositionSpec::Rotary { ropes, of_block: of_block.take(MOST_BLOCKS).collect() },
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

/// The text model within a `config.json` with `"model_type": "gemma3"`, whose files hold an image encoder besides.
pub(super) fn refuse_images(source: &Source, keys: &Value) -> ModelError {
    let text = keys.get("text_config").is_some();
    let got = if text { "gemma3, a text model and an image encoder" } else { "gemma3" };
    let advice = "Save the text model by itself: Gemma3ForCausalLM.from_pretrained(...).save_pretrained(...)";
    source.unsupported("model_type", got, "gemma3_text", advice)
}
