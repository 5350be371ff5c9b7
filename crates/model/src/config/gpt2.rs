//! GPT-2: learned positions, `LayerNorm`, biases on all projections, no gate.

use serde::Deserialize;
use serde_json::Value;

use super::{Source, attention_scale, head, head_dim, same_window};
use crate::error::ModelError;
use crate::spec::{
    AttentionBias, AttentionSpec, BlockSpec, DecoderSpec, MlpBias, MlpGate, MlpSpec, NormKind, NormSpec, NormWeight,
    PositionSpec, QueryKeyNorm, WeightLayout,
};

/// `config.json` with `"model_type": "gpt2"`. Defaults follow transformers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gpt2Config {
    vocab_size: usize,
    n_positions: usize,
    /// An older name of `n_positions`.
    n_ctx: Option<usize>,
    n_embd: usize,
    n_layer: usize,
    n_head: usize,
    n_inner: Option<usize>,
    #[serde(default = "default_activation")]
    activation_function: String,
    #[serde(default = "super::default_epsilon")]
    layer_norm_epsilon: f64,
    #[serde(default = "super::default_true")]
    scale_attn_weights: bool,
    #[serde(default)]
    scale_attn_by_inverse_layer_idx: bool,
    add_cross_attention: Option<bool>,
    #[serde(default = "super::default_true")]
    tie_word_embeddings: bool,
    /// Has no effect where attention runs in float32 anyway.
    #[serde(rename = "reorder_and_upcast_attn")]
    _reorder_and_upcast_attn: Option<bool>,
    // The keys below belong to training and classification heads.
    #[serde(rename = "resid_pdrop")]
    _resid_pdrop: Option<Value>,
    #[serde(rename = "embd_pdrop")]
    _embd_pdrop: Option<Value>,
    #[serde(rename = "attn_pdrop")]
    _attn_pdrop: Option<Value>,
    #[serde(rename = "summary_type")]
    _summary_type: Option<Value>,
    #[serde(rename = "summary_use_proj")]
    _summary_use_proj: Option<Value>,
    #[serde(rename = "summary_activation")]
    _summary_activation: Option<Value>,
    #[serde(rename = "summary_proj_to_labels")]
    _summary_proj_to_labels: Option<Value>,
    #[serde(rename = "summary_first_dropout")]
    _summary_first_dropout: Option<Value>,
    #[serde(rename = "n_special")]
    _n_special: Option<Value>,
    #[serde(rename = "predict_special_tokens")]
    _predict_special_tokens: Option<Value>,
    #[serde(rename = "output_past")]
    _output_past: Option<Value>,
    #[serde(rename = "task_specific_params")]
    _task_specific_params: Option<Value>,
}

fn default_activation() -> String {
    "gelu_new".to_owned()
}

impl Gpt2Config {
    pub(super) fn resolve(self, source: &Source) -> Result<DecoderSpec, ModelError> {
        let advice = "Only the attention of the released GPT-2 models is computed here";
        for (key, value, expected) in [
            ("scale_attn_weights", self.scale_attn_weights, true),
            ("scale_attn_by_inverse_layer_idx", self.scale_attn_by_inverse_layer_idx, false),
            ("add_cross_attention", self.add_cross_attention.unwrap_or(false), false),
        ] {
            if value != expected {
                return Err(source.unsupported(key, &value.to_string(), &expected.to_string(), advice));
            }
        }
        let Self { n_positions, n_ctx, n_embd, n_layer, n_head, .. } = self;
        if let Some(other) = n_ctx.filter(|other| *other != n_positions) {
            let expected = format!("n_positions, {n_positions}");
            return Err(source.unsupported("n_ctx", &other.to_string(), &expected, "Mend the file"));
        }
        let head_dim = head_dim(None, n_embd, n_head);
        Ok(DecoderSpec {
            model_type: "gpt2".to_owned(),
            vocab_size: self.vocab_size,
            d_model: n_embd,
            n_blocks: n_layer,
            context_length: n_positions,
            embedding_scale: None,
            block: BlockSpec::PRE_NORM,
            attention: AttentionSpec {
                n_heads: n_head,
                n_kv_heads: n_head,
                head_dim,
                scale: attention_scale(head_dim),
                bias: AttentionBias::All,
                query_key_norm: QueryKeyNorm::None,
                soft_cap: None,
            },
            windows: same_window(n_layer, None),
            positions: PositionSpec::Learned,
            mlp: MlpSpec {
                d_mlp: self.n_inner.unwrap_or(n_embd.saturating_mul(4)),
                activation: source.activation("activation_function", &self.activation_function)?,
                gate: MlpGate::Plain,
                bias: MlpBias::All,
            },
            norm: NormSpec { kind: NormKind::Layer, epsilon: self.layer_norm_epsilon, weight: NormWeight::Wide },
            head: head(self.tie_word_embeddings),
            logit_soft_cap: None,
            layout: WeightLayout::Gpt2,
        })
    }
}
