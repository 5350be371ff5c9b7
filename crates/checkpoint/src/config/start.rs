//! Specs that families start from: each family reads one of them and changes what differs.

use super::MOST_BLOCKS;
use super::keys::Keys;
use super::rope::{self, RopeContext, Rotated};
use crate::error::CheckpointError;
use crate::spec::{
    Activation, AttentionBias, AttentionSpec, BlockSpec, DecoderSpec, HeadWeights, MlpBias, MlpGate, MlpSpec, NormKind,
    NormSpec, NormWeight, PositionSpec, QueryKeyNorm, RopeSpec, WeightLayout,
};

/// A decoder like Llama: RMS norms, rotary embedding, key heads that query heads share, a gated feed-forward part, no
/// biases.
pub(super) fn llama_like(keys: &mut Keys, model_type: &str, rotated: Rotated) -> Result<DecoderSpec, CheckpointError> {
    keys.require(&["intermediate_size"])?;
    let epsilon = keys.need("rms_norm_eps")?;
    let norm = NormSpec { kind: NormKind::RootMeanSquare, epsilon, weight: NormWeight::Plain };
    let mut spec = any(keys, model_type, norm)?;
    let attention = &mut spec.attention;
    attention.n_kv_heads = keys.take("num_key_value_heads")?.unwrap_or(attention.n_heads);
    attention.head_dim = keys.take("head_dim")?.unwrap_or(attention.head_dim);
    attention.scale = (attention.head_dim as f64).powf(-0.5);
    spec.positions = rotary(keys, &spec, rotated)?;
    Ok(spec)
}

/// GPT-2's names of keys, with those of other families before them.
pub(super) const GPT2_NAMES: &[(&str, &str)] = &[
    ("hidden_size", "n_embd"),
    ("num_hidden_layers", "n_layer"),
    ("num_attention_heads", "n_head"),
    ("max_position_embeddings", "n_positions"),
    ("intermediate_size", "n_inner"),
    ("hidden_act", "activation_function"),
    ("layer_norm_eps", "layer_norm_epsilon"),
];

/// A decoder like GPT: `LayerNorm`, learned positions, one key head for each query head, a feed-forward part without a gate
/// and four times as wide as the model unless the file says otherwise, biases on all projections.
pub(super) fn gpt_like(keys: &mut Keys, model_type: &str) -> Result<DecoderSpec, CheckpointError> {
    let epsilon = keys.take_or("layer_norm_eps", 1e-5)?;
    let norm = NormSpec { kind: NormKind::Layer, epsilon, weight: NormWeight::Wide };
    let mut spec = any(keys, model_type, norm)?;
    spec.attention.bias = AttentionBias::All;
    spec.mlp.gate = MlpGate::Plain;
    spec.mlp.bias = MlpBias::All;
    Ok(spec)
}

/// What both kinds share. The rest is Llama's, but for learned positions and one key head for each query head.
fn any(keys: &mut Keys, model_type: &str, norm: NormSpec) -> Result<DecoderSpec, CheckpointError> {
    let d_model: usize = keys.need("hidden_size")?;
    let n_blocks = keys.need("num_hidden_layers")?;
    let n_heads = keys.need("num_attention_heads")?;
    let head_dim = d_model.checked_div(n_heads).unwrap_or(0);
    Ok(DecoderSpec {
        model_type: model_type.to_owned(),
        vocab_size: keys.need("vocab_size")?,
        d_model,
        n_blocks,
        context_length: keys.need("max_position_embeddings")?,
        embedding_scale: None,
        block: BlockSpec::PRE_NORM,
        attention: AttentionSpec {
            n_heads,
            n_kv_heads: n_heads,
            head_dim,
            scale: (head_dim as f64).powf(-0.5),
            bias: AttentionBias::None,
            query_key_norm: QueryKeyNorm::None,
            soft_cap: None,
        },
        windows: same_window(n_blocks, None),
        positions: PositionSpec::Learned { offset: 0 },
        mlp: MlpSpec {
            d_mlp: keys.take("intermediate_size")?.unwrap_or(d_model.saturating_mul(4)),
            activation: activation(keys)?,
            gate: MlpGate::Gated,
            bias: MlpBias::None,
        },
        norm,
        head: if keys.take_or("tie_word_embeddings", false)? { HeadWeights::Tied } else { HeadWeights::Own },
        head_bias: false,
        logit_soft_cap: None,
        layout: WeightLayout::Llama,
    })
}

/// The activation, `silu` unless the file says otherwise.
fn activation(keys: &mut Keys) -> Result<Activation, CheckpointError> {
    let name: String = keys.take_or("hidden_act", "silu".to_owned())?;
    match name.as_str() {
        "silu" | "swish" => Ok(Activation::Silu),
        "gelu" => Ok(Activation::Gelu),
        "gelu_pytorch_tanh" | "gelu_new" | "gelu_fast" => Ok(Activation::GeluTanh),
        "relu" => Ok(Activation::Relu),
        _ => {
            let expected = "silu, gelu, gelu_pytorch_tanh, gelu_new or relu";
            Err(keys.unsupported("hidden_act", &name, expected, "Is this a model of another family?"))
        }
    }
}

/// Takes `attention_bias`, of families in which all projections of attention have a bias or none do.
pub(super) fn attention_bias(keys: &mut Keys, absent: bool) -> Result<AttentionBias, CheckpointError> {
    Ok(if keys.take_or("attention_bias", absent)? { AttentionBias::All } else { AttentionBias::None })
}

/// The same window for every block. Bounded, because the number of blocks has not been checked yet.
pub(super) fn same_window(n_blocks: usize, window: Option<usize>) -> Vec<Option<usize>> {
    vec![window; n_blocks.min(MOST_BLOCKS)]
}

/// Takes the keys of one rotary embedding for every block.
pub(super) fn rotary(keys: &mut Keys, spec: &DecoderSpec, rotated: Rotated) -> Result<PositionSpec, CheckpointError> {
    let (head_dim, context_length) = (spec.attention.head_dim, spec.context_length);
    let rope = rope::read(keys, RopeContext { head_dim, rotated, context_length })?;
    Ok(same_rope(spec.n_blocks, rope))
}

/// One rotary embedding for every block.
pub(super) fn same_rope(n_blocks: usize, rope: RopeSpec) -> PositionSpec {
    PositionSpec::Rotary { ropes: vec![rope], of_block: vec![0; n_blocks.min(MOST_BLOCKS)] }
}
