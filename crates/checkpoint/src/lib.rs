//! Hugging Face checkpoints of decoder-only language models, without a tensor library.
//!
//! A folder is opened as a [`Checkpoint`]: its `config.json` is resolved to a [`DecoderSpec`], and its weights are mapped and
//! checked against it. [`Checkpoint::identity`] says which model it is, whatever files hold it.

mod checkpoint;
mod config;
mod error;
mod identity;
mod spec;
mod weights;

pub use checkpoint::Checkpoint;
pub use error::{CheckpointError, read_json};
pub use spec::{
    Activation, AttentionBias, AttentionSpec, BlockSpec, DecoderSpec, HeadWeights, MlpBias, MlpGate, MlpSpec, NormKind,
    NormPlacement, NormSpec, NormWeight, PositionSpec, QueryKeyNorm, Residuals, RopePairs, RopeScaling, RopeSpec,
    WeightLayout,
};
pub use weights::map::{MappedFile, map_file};
pub use weights::{BlockPart, Cut, Stored, StoredTensor, WeightFiles, tensor_names};
