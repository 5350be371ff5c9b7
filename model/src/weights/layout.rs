//! The tensors that a [`DecoderSpec`] calls for: their names in the files, and their shapes.

use std::collections::BTreeMap;

use crate::spec::{AttentionBias, DecoderSpec, HeadWeights, MlpBias};

/// Names outside the blocks.
pub(crate) mod names {
    /// The embedding matrix, `[vocab, d_model]`.
    pub(crate) const EMBEDDING: &str = "model.embed_tokens.weight";
    /// The weight of the norm before the unembedding, `[d_model]`.
    pub(crate) const FINAL_NORM: &str = "model.norm.weight";
    /// The unembedding, `[vocab, d_model]`.
    pub(crate) const HEAD: &str = "lm_head.weight";
}

/// A part of a block that has weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockPart {
    AttentionNorm,
    Query,
    Key,
    Value,
    Output,
    MlpNorm,
    Gate,
    Up,
    Down,
}

impl BlockPart {
    const ALL: [Self; 9] = [
        Self::AttentionNorm,
        Self::Query,
        Self::Key,
        Self::Value,
        Self::Output,
        Self::MlpNorm,
        Self::Gate,
        Self::Up,
        Self::Down,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::AttentionNorm => "input_layernorm",
            Self::Query => "self_attn.q_proj",
            Self::Key => "self_attn.k_proj",
            Self::Value => "self_attn.v_proj",
            Self::Output => "self_attn.o_proj",
            Self::MlpNorm => "post_attention_layernorm",
            Self::Gate => "mlp.gate_proj",
            Self::Up => "mlp.up_proj",
            Self::Down => "mlp.down_proj",
        }
    }

    /// Name of its weight in block `block`.
    pub(crate) fn weight(self, block: usize) -> String {
        format!("model.layers.{block}.{}.weight", self.name())
    }

    /// Name of its bias in block `block`, where it has one.
    pub(crate) fn bias(self, block: usize, spec: &DecoderSpec) -> Option<String> {
        let has_bias = match self {
            Self::AttentionNorm | Self::MlpNorm => false,
            Self::Query | Self::Key | Self::Value => spec.attention.bias != AttentionBias::None,
            Self::Output => spec.attention.bias == AttentionBias::All,
            Self::Gate | Self::Up | Self::Down => spec.mlp.bias == MlpBias::All,
        };
        has_bias.then(|| format!("model.layers.{block}.{}.bias", self.name()))
    }

    /// Shape of its weight: `[out, in]`, or `[d_model]` for a norm.
    fn shape(self, spec: &DecoderSpec) -> Vec<usize> {
        let queries = spec.attention.n_heads * spec.attention.head_dim;
        let keys = spec.attention.n_kv_heads * spec.attention.head_dim;
        match self {
            Self::AttentionNorm | Self::MlpNorm => vec![spec.d_model],
            Self::Query => vec![queries, spec.d_model],
            Self::Key | Self::Value => vec![keys, spec.d_model],
            Self::Output => vec![spec.d_model, queries],
            Self::Gate | Self::Up => vec![spec.mlp.d_mlp, spec.d_model],
            Self::Down => vec![spec.d_model, spec.mlp.d_mlp],
        }
    }
}

/// Every tensor that a whole checkpoint of this spec holds, with its shape.
pub(crate) fn expected_tensors(spec: &DecoderSpec) -> BTreeMap<String, Vec<usize>> {
    let mut expected = BTreeMap::from([
        (names::EMBEDDING.to_owned(), vec![spec.vocab_size, spec.d_model]),
        (names::FINAL_NORM.to_owned(), vec![spec.d_model]),
    ]);
    if spec.head == HeadWeights::Own {
        expected.insert(names::HEAD.to_owned(), vec![spec.vocab_size, spec.d_model]);
    }
    for block in 0..spec.n_blocks {
        for part in BlockPart::ALL {
            let shape = part.shape(spec);
            if let Some(bias) = part.bias(block, spec) {
                expected.insert(bias, vec![shape[0]]);
            }
            expected.insert(part.weight(block), shape);
        }
    }
    expected
}

/// Whether a tensor that no spec calls for is known to carry nothing: buffers that older tools saved, and the copy of
/// the embedding that some tools write for a tied head.
pub(crate) fn carries_nothing(name: &str, spec: &DecoderSpec) -> bool {
    name.ends_with(".rotary_emb.inv_freq") || (name == names::HEAD && spec.head == HeadWeights::Tied)
}
