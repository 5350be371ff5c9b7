//! Gemma 3, text only: Gemma 2 with query and key norms in place of soft caps, five windowed layers to each full one, and
//! one rotary embedding for each of the two types.

use serde::Deserialize;
use serde_json::Value;

use super::gemma::{check_activation, check_causal};
use super::layer_types::{self, LayerType};
use super::rope::{self, RopeFields, Turned};
use super::{MOST_BLOCKS, Source, attention_bias, head};
use crate::error::ModelError;
use crate::spec::{
    Activation, AttentionSpec, BlockSpec, DecoderSpec, MlpBias, MlpGate, MlpSpec, NormKind, NormPlacement, NormSpec,
    NormWeight, PositionSpec, QueryKeyNorm, Residuals, WeightLayout,
};

/// `config.json` with `"model_type": "gemma3_text"`. Defaults follow transformers.
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
    #[serde(default = "super::default_true")]
    tie_word_embeddings: bool,
    #[serde(default)]
    attention_bias: bool,
    use_bidirectional_attention: Option<bool>,
    /// Setting of the reference's cache. No effect on results.
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

/// Every sixth layer attends to the full context.
const PATTERN: usize = 6;

impl Gemma3Config {
    pub(super) fn resolve(self, source: &Source) -> Result<DecoderSpec, ModelError> {
        check_causal(source, self.use_bidirectional_attention)?;
        check_activation(source, self.hidden_act.as_deref(), self.hidden_activation.as_deref())?;
        source.check_positive("query_pre_attn_scalar", Some(self.query_pre_attn_scalar))?;
        source.check_positive("final_logit_softcapping", self.final_logit_softcapping)?;
        source.check_positive("attn_logit_softcapping", self.attn_logit_softcapping)?;
        let pattern = self.sliding_window_pattern.or(self.older_window_pattern).unwrap_or(PATTERN);
        if pattern == 0 {
            let advice = "It is after how many layers one looks at all keys; Gemma 3 has 6";
            return Err(source.unsupported("sliding_window_pattern", "0", "a whole number above 0", advice));
        }
        let slides = |layer| (layer + 1) % pattern != 0;
        let layer_types = layer_types::resolve(source, self.layer_types, self.num_hidden_layers, slides)?;
        let TwoRopes { full_attention, sliding_attention } =
            self.rope_parameters.unwrap_or(TwoRopes { full_attention: None, sliding_attention: None });
        let rope = |theta: f64, scaling, parameters| {
            rope::resolve(source, self.head_dim, Turned::WholeHead, Some(theta), scaling, parameters)
        };
        let ropes = vec![
            rope(self.rope_theta.unwrap_or(GLOBAL_THETA), self.rope_scaling, full_attention)?,
            rope(self.rope_local_base_freq.unwrap_or(LOCAL_THETA), None, sliding_attention)?,
        ];
        let of_block = layer_types.iter().map(|kind| usize::from(*kind == LayerType::SlidingAttention));
        Ok(DecoderSpec {
            model_type: "gemma3_text".to_owned(),
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
                query_key_norm: QueryKeyNorm::EachHead,
                soft_cap: self.attn_logit_softcapping,
            },
            windows: layer_types::windows(&layer_types, Some(self.sliding_window.unwrap_or(4096))),
            positions: PositionSpec::Rotary { ropes, of_block: of_block.take(MOST_BLOCKS).collect() },
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

/// Refuses a multimodal `config.json` with `"model_type": "gemma3"`, whose files also hold an image encoder.
pub(super) fn refuse_images(source: &Source, keys: &Value) -> ModelError {
    let text = keys.get("text_config").is_some();
    let got = if text { "gemma3, a text model and an image encoder" } else { "gemma3" };
    let advice = "Save the text model by itself: Gemma3ForCausalLM.from_pretrained(...).save_pretrained(...)";
    source.unsupported("model_type", got, "gemma3_text", advice)
}
