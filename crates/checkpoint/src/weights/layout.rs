//! The tensors of a [`DecoderSpec`]: names, shapes, and the pieces that the decoder uses.

use std::collections::BTreeMap;

use super::stored::{BlockPart, Stored};
use super::tensor_names;
use crate::spec::{
    AttentionBias, DecoderSpec, HeadWeights, MlpBias, MlpGate, NormKind, NormPlacement, PositionSpec, QueryKeyNorm,
};

impl BlockPart {
    const ALL: [Self; 13] = [
        Self::AttentionNorm,
        Self::Query,
        Self::Key,
        Self::Value,
        Self::QueryNorm,
        Self::KeyNorm,
        Self::Output,
        Self::AttentionPostNorm,
        Self::MlpNorm,
        Self::Gate,
        Self::Up,
        Self::Down,
        Self::MlpPostNorm,
    ];

    /// Whether blocks of this spec have the part.
    pub fn is_in(self, spec: &DecoderSpec) -> bool {
        match self {
            Self::Query | Self::Key | Self::Value | Self::Output | Self::Up | Self::Down => true,
            Self::AttentionNorm | Self::MlpNorm => spec.block.norms != NormPlacement::Behind,
            Self::AttentionPostNorm | Self::MlpPostNorm => spec.block.norms != NormPlacement::Before,
            Self::QueryNorm | Self::KeyNorm => spec.attention.query_key_norm != QueryKeyNorm::None,
            Self::Gate => spec.mlp.gate == MlpGate::Gated,
        }
    }

    /// Its weight in a block: a matrix, or the vector of a norm.
    pub fn weight(self, block: usize, spec: &DecoderSpec) -> Stored {
        tensor_names::block_tensor(self, block, spec, self.shape(spec), "weight")
    }

    /// Its bias in a block, if any.
    pub fn bias(self, block: usize, spec: &DecoderSpec) -> Option<Stored> {
        let has_bias = match self {
            Self::AttentionNorm | Self::MlpNorm | Self::AttentionPostNorm | Self::MlpPostNorm => {
                spec.norm.kind == NormKind::Layer
            }
            Self::QueryNorm | Self::KeyNorm => false,
            Self::Query | Self::Key | Self::Value => {
                matches!(spec.attention.bias, AttentionBias::Inputs | AttentionBias::All)
            }
            Self::Output => matches!(spec.attention.bias, AttentionBias::Output | AttentionBias::All),
            Self::Gate | Self::Up | Self::Down => spec.mlp.bias == MlpBias::All,
        };
        has_bias.then(|| tensor_names::block_tensor(self, block, spec, vec![self.shape(spec)[0]], "bias"))
    }

    /// Shape of its weight: `[out, in]`, or `[width]` for a norm.
    fn shape(self, spec: &DecoderSpec) -> Vec<usize> {
        let head_dim = spec.attention.head_dim;
        let queries = spec.attention.n_heads * head_dim;
        let keys = spec.attention.n_kv_heads * head_dim;
        match self {
            Self::AttentionNorm | Self::MlpNorm | Self::AttentionPostNorm | Self::MlpPostNorm => vec![spec.d_model],
            Self::QueryNorm | Self::KeyNorm if spec.attention.query_key_norm == QueryKeyNorm::EachHead => {
                vec![head_dim]
            }
            Self::QueryNorm => vec![queries],
            Self::KeyNorm => vec![keys],
            Self::Query => vec![queries, spec.d_model],
            Self::Key | Self::Value => vec![keys, spec.d_model],
            Self::Output => vec![spec.d_model, queries],
            Self::Gate | Self::Up => vec![spec.mlp.d_mlp, spec.d_model],
            Self::Down => vec![spec.d_model, spec.mlp.d_mlp],
        }
    }
}

/// Every tensor of a whole checkpoint with this spec, with its shape.
pub(crate) fn expected_tensors(spec: &DecoderSpec) -> BTreeMap<String, Vec<usize>> {
    let outer = tensor_names::of(spec.layout);
    let mut expected = BTreeMap::from([
        (outer.embedding.to_owned(), vec![spec.vocab_size, spec.d_model]),
        (format!("{}.weight", outer.final_norm), vec![spec.d_model]),
    ]);
    if spec.norm.kind == NormKind::Layer {
        expected.insert(format!("{}.bias", outer.final_norm), vec![spec.d_model]);
    }
    if spec.head == HeadWeights::Own {
        expected.insert(outer.head.to_owned(), vec![spec.vocab_size, spec.d_model]);
    }
    if spec.head_bias {
        expected.insert(tensor_names::HEAD_BIAS.to_owned(), vec![spec.vocab_size]);
    }
    if let PositionSpec::Learned { offset } = spec.positions {
        let name = tensor_names::positions(spec.layout).to_owned();
        expected.insert(name, vec![offset + spec.context_length, spec.d_model]);
    }
    for block in 0..spec.n_blocks {
        for part in BlockPart::ALL.into_iter().filter(|part| part.is_in(spec)) {
            let stored = std::iter::once(part.weight(block, spec)).chain(part.bias(block, spec));
            expected.extend(stored.map(|stored| (stored.name, stored.shape)));
        }
    }
    expected
}
