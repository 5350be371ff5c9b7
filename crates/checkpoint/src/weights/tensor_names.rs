//! Tensor names of the families.

use super::stored::{BlockPart, Cut, Stored};
use crate::spec::{DecoderSpec, NormPlacement, WeightLayout};

/// Names outside the blocks.
pub struct OutsideNames {
    /// The embedding matrix, `[vocab, d_model]`.
    pub embedding: &'static str,
    /// The norm before the unembedding, without `.weight` or `.bias`.
    pub final_norm: &'static str,
    /// The unembedding, `[vocab, d_model]`.
    pub head: &'static str,
}

const TRANSFORMER: &str = "transformer.";

/// Prefixes of an image encoder's tensors, and of the projector behind it, in the versions of transformers.
const IMAGES: [&str; 4] =
    ["vision_tower.", "model.vision_tower.", "multi_modal_projector.", "model.multi_modal_projector."];

/// Prefixes of a text model beside an image encoder, in the versions of transformers, and what stands for them in a text
/// model alone.
const TEXT: [(&str, &str); 4] = [
    ("language_model.model.", "model."),
    ("model.language_model.", "model."),
    ("language_model.lm_head.", "lm_head."),
    ("language_model.", "model."),
];

/// The names outside the blocks.
pub fn of(layout: WeightLayout) -> OutsideNames {
    let [embedding, final_norm, head] = match layout {
        WeightLayout::Llama | WeightLayout::Phi3 | WeightLayout::Gemma3Multimodal => {
            ["model.embed_tokens.weight", "model.norm", "lm_head.weight"]
        }
        WeightLayout::Gpt2 | WeightLayout::GptNeo | WeightLayout::GptJ => {
            ["transformer.wte.weight", "transformer.ln_f", "lm_head.weight"]
        }
        WeightLayout::GptNeoX => ["gpt_neox.embed_in.weight", "gpt_neox.final_layer_norm", "embed_out.weight"],
        WeightLayout::Phi => ["model.embed_tokens.weight", "model.final_layernorm", "lm_head.weight"],
        WeightLayout::Opt => ["model.decoder.embed_tokens.weight", "model.decoder.final_layer_norm", "lm_head.weight"],
    };
    OutsideNames { embedding, final_norm, head }
}

/// Bias of the unembedding, `[vocab]`, in models that have one.
pub const HEAD_BIAS: &str = "lm_head.bias";

/// Learned positions, `[offset + context_length, d_model]`, in models that have them.
pub fn positions(layout: WeightLayout) -> &'static str {
    if layout == WeightLayout::Opt { "model.decoder.embed_positions.weight" } else { "transformer.wpe.weight" }
}

/// The canonical name of a tensor. The released files of GPT-2 and OPT omit a prefix; a text model beside an image encoder has
/// one more.
pub(crate) fn canonical(name: &str, layout: WeightLayout) -> String {
    let begins = |starts: &[&str]| starts.iter().any(|start| name.starts_with(start));
    match layout {
        WeightLayout::Gpt2 | WeightLayout::GptNeo | WeightLayout::GptJ if begins(&["wte.", "wpe.", "h.", "ln_f."]) => {
            format!("{TRANSFORMER}{name}")
        }
        WeightLayout::Opt if begins(&["decoder."]) => format!("model.{name}"),
        WeightLayout::Gemma3Multimodal => {
            let renamed = TEXT.iter().find_map(|(from, to)| Some(format!("{to}{}", name.strip_prefix(from)?)));
            renamed.unwrap_or_else(|| name.to_owned())
        }
        _ => name.to_owned(),
    }
}

/// Whether a tensor of a checkpoint bears on no text, whatever its type: buffers that older tools saved (masks, frequencies),
/// and an image encoder.
pub(crate) fn is_set_aside(name: &str, layout: WeightLayout) -> bool {
    const BUFFERS: [&str; 5] =
        [".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias"];
    let is_image = layout == WeightLayout::Gemma3Multimodal && IMAGES.iter().any(|start| name.starts_with(start));
    is_image || BUFFERS.iter().any(|buffer| name.ends_with(buffer))
}

/// Location of the weight or bias (`kind`) of a part of a block. `shape` is that of the piece, `[out, in]` or `[out]`.
pub(super) fn block_tensor(part: BlockPart, block: usize, spec: &DecoderSpec, shape: Vec<usize>, kind: &str) -> Stored {
    match spec.layout {
        WeightLayout::Llama | WeightLayout::Gemma3Multimodal => {
            let name = format!("model.layers.{block}.{}.{kind}", llama(part, spec));
            Stored { name, shape, cut: Cut::Whole }
        }
        WeightLayout::Phi3 => {
            let (name, first, total) = phi3(part, spec);
            let name = format!("model.layers.{block}.{name}.{kind}");
            match total {
                None => Stored { name, shape, cut: Cut::Whole },
                Some(total) => fused(name, &shape, first, total),
            }
        }
        WeightLayout::Gpt2 => {
            let (name, place) = gpt2(part);
            let name = format!("{TRANSFORMER}h.{block}.{name}.{kind}");
            match (place, &shape[..]) {
                (Some((place, of)), &[out, width]) => {
                    let cut = Cut::Transposed { first: place * out, count: out };
                    Stored { name, shape: vec![width, of * out], cut }
                }
                (Some((place, of)), &[out]) if of > 1 => fused(name, &[out], place * out, of * out),
                _ => Stored { name, shape, cut: Cut::Whole },
            }
        }
        WeightLayout::GptNeoX => {
            let (name, place) = gpt_neox(part);
            let name = format!("gpt_neox.layers.{block}.{name}.{kind}");
            let Some(place) = place else { return Stored { name, shape, cut: Cut::Whole } };
            let whole = std::iter::once(3 * shape[0]).chain(shape[1..].iter().copied()).collect();
            Stored { name, shape: whole, cut: Cut::OfEachHead { heads: spec.attention.n_heads, place } }
        }
        WeightLayout::GptNeo => {
            Stored { name: format!("{TRANSFORMER}h.{block}.{}.{kind}", gpt_neo(part)), shape, cut: Cut::Whole }
        }
        WeightLayout::GptJ => {
            Stored { name: format!("{TRANSFORMER}h.{block}.{}.{kind}", gptj(part)), shape, cut: Cut::Whole }
        }
        WeightLayout::Phi => {
            Stored { name: format!("model.layers.{block}.{}.{kind}", phi(part, spec)), shape, cut: Cut::Whole }
        }
        WeightLayout::Opt => {
            Stored { name: format!("model.decoder.layers.{block}.{}.{kind}", opt(part, spec)), shape, cut: Cut::Whole }
        }
    }
}

/// A piece of `shape`, from a tensor with `total` outputs.
fn fused(name: String, shape: &[usize], first: usize, total: usize) -> Stored {
    let cut = Cut::Outputs { first, count: shape[0] };
    Stored { name, shape: std::iter::once(total).chain(shape[1..].iter().copied()).collect(), cut }
}

fn llama(part: BlockPart, spec: &DecoderSpec) -> &'static str {
    match part {
        BlockPart::AttentionNorm => "input_layernorm",
        BlockPart::Query => "self_attn.q_proj",
        BlockPart::Key => "self_attn.k_proj",
        BlockPart::Value => "self_attn.v_proj",
        BlockPart::QueryNorm => "self_attn.q_norm",
        BlockPart::KeyNorm => "self_attn.k_norm",
        BlockPart::Output => "self_attn.o_proj",
        BlockPart::AttentionPostNorm => "post_attention_layernorm",
        // Named for its place after attention. In models with an attention post-norm, that norm has this name.
        BlockPart::MlpNorm if spec.block.norms == NormPlacement::Before => "post_attention_layernorm",
        BlockPart::MlpNorm => "pre_feedforward_layernorm",
        BlockPart::Gate => "mlp.gate_proj",
        BlockPart::Up => "mlp.up_proj",
        BlockPart::Down => "mlp.down_proj",
        BlockPart::MlpPostNorm => "post_feedforward_layernorm",
    }
}

/// The tensor, the first output of the part, and the total number of outputs if the tensor is fused.
fn phi3(part: BlockPart, spec: &DecoderSpec) -> (&'static str, usize, Option<usize>) {
    let queries = spec.attention.n_heads * spec.attention.head_dim;
    let keys = spec.attention.n_kv_heads * spec.attention.head_dim;
    let (joined, d_mlp) = (Some(queries + 2 * keys), spec.mlp.d_mlp);
    match part {
        BlockPart::Query => ("self_attn.qkv_proj", 0, joined),
        BlockPart::Key => ("self_attn.qkv_proj", queries, joined),
        BlockPart::Value => ("self_attn.qkv_proj", queries + keys, joined),
        BlockPart::Gate => ("mlp.gate_up_proj", 0, Some(2 * d_mlp)),
        BlockPart::Up => ("mlp.gate_up_proj", d_mlp, Some(2 * d_mlp)),
        other => (llama(other, spec), 0, None),
    }
}

/// The tensor and, for matrices (stored `[in, out]`), the index of the part and the number of equally wide parts.
fn gpt2(part: BlockPart) -> (&'static str, Option<(usize, usize)>) {
    match part {
        BlockPart::AttentionNorm => ("ln_1", None),
        BlockPart::Query => ("attn.c_attn", Some((0, 3))),
        BlockPart::Key => ("attn.c_attn", Some((1, 3))),
        BlockPart::Value => ("attn.c_attn", Some((2, 3))),
        BlockPart::Output => ("attn.c_proj", Some((0, 1))),
        BlockPart::Up => ("mlp.c_fc", Some((0, 1))),
        BlockPart::Down => ("mlp.c_proj", Some((0, 1))),
        // GPT-2 does not have these norms or a gate. A file with such tensors is refused.
        BlockPart::MlpNorm => ("ln_2", None),
        BlockPart::QueryNorm => ("attn.q_norm", None),
        BlockPart::KeyNorm => ("attn.k_norm", None),
        BlockPart::AttentionPostNorm => ("ln_1_post", None),
        BlockPart::MlpPostNorm => ("ln_2_post", None),
        BlockPart::Gate => ("mlp.c_gate", Some((0, 1))),
    }
}

/// The tensor, and the index of the part among the three of each head.
fn gpt_neox(part: BlockPart) -> (&'static str, Option<usize>) {
    match part {
        BlockPart::AttentionNorm => ("input_layernorm", None),
        BlockPart::Query => ("attention.query_key_value", Some(0)),
        BlockPart::Key => ("attention.query_key_value", Some(1)),
        BlockPart::Value => ("attention.query_key_value", Some(2)),
        BlockPart::Output => ("attention.dense", None),
        BlockPart::MlpNorm => ("post_attention_layernorm", None),
        BlockPart::Up => ("mlp.dense_h_to_4h", None),
        BlockPart::Down => ("mlp.dense_4h_to_h", None),
        // GPT-NeoX has none of these.
        BlockPart::QueryNorm => ("attention.query_layernorm", None),
        BlockPart::KeyNorm => ("attention.key_layernorm", None),
        BlockPart::AttentionPostNorm => ("attention_post_layernorm", None),
        BlockPart::MlpPostNorm => ("mlp_post_layernorm", None),
        BlockPart::Gate => ("mlp.dense_gate", None),
    }
}

fn gpt_neo(part: BlockPart) -> &'static str {
    match part {
        BlockPart::Query => "attn.attention.q_proj",
        BlockPart::Key => "attn.attention.k_proj",
        BlockPart::Value => "attn.attention.v_proj",
        BlockPart::Output => "attn.attention.out_proj",
        other => gpt2(other).0,
    }
}

fn gptj(part: BlockPart) -> &'static str {
    match part {
        // One norm for both.
        BlockPart::AttentionNorm | BlockPart::MlpNorm => "ln_1",
        BlockPart::Query => "attn.q_proj",
        BlockPart::Key => "attn.k_proj",
        BlockPart::Value => "attn.v_proj",
        BlockPart::Output => "attn.out_proj",
        BlockPart::Up => "mlp.fc_in",
        BlockPart::Down => "mlp.fc_out",
        other => gpt2(other).0,
    }
}

fn phi(part: BlockPart, spec: &DecoderSpec) -> &'static str {
    match part {
        // One norm for both.
        BlockPart::AttentionNorm | BlockPart::MlpNorm => "input_layernorm",
        BlockPart::Output => "self_attn.dense",
        BlockPart::Up => "mlp.fc1",
        BlockPart::Down => "mlp.fc2",
        other => llama(other, spec),
    }
}

fn opt(part: BlockPart, spec: &DecoderSpec) -> &'static str {
    match part {
        BlockPart::AttentionNorm => "self_attn_layer_norm",
        BlockPart::MlpNorm => "final_layer_norm",
        BlockPart::Output => "self_attn.out_proj",
        BlockPart::Up => "fc1",
        BlockPart::Down => "fc2",
        other => llama(other, spec),
    }
}
