//! Decoder-only language models whose residual stream can be stopped and resumed.
//!
//! A Hugging Face folder becomes a [`Checkpoint`]; its `config.json` becomes a [`DecoderSpec`] of resolved facts;
//! a [`Portion`] of its weights becomes a [`Decoder`]. The decoder has no hooks: it turns tokens into a [`Residual`],
//! advances that residual from block to block, and reads predictions off its end.
//!
//! ```no_run
//! use hayloft_model::{Checkpoint, Decoder, Portion, Positions, Precision, Tokenizer, no_grad, parse_device};
//! # fn main() -> Result<(), hayloft_model::ModelError> {
//! let _guard = no_grad();
//! let folder = std::path::Path::new("mistral-7b");
//! let checkpoint = Checkpoint::open(folder)?;
//! let device = parse_device("cuda:0")?;
//! let decoder = Decoder::load(&checkpoint, Portion::Whole, Precision::Bf16, device)?;
//! let tokens = Tokenizer::open(folder)?.encode_batch(&["The hay is in the loft"])?;
//! let ids: Vec<i64> = tokens[0].iter().map(|&id| i64::from(id)).collect();
//! let batch = tch::Tensor::from_slice(&ids).unsqueeze(0).to_device(device);
//! let positions = Positions::from_start(ids.len());
//! let middle = decoder.advance(&decoder.embed(&batch)?, 16, &positions)?; // blocks.16.hook_resid_pre
//! let end = decoder.advance(&middle, decoder.spec().n_blocks, &positions)?;
//! let logits = decoder.logits(&end)?; // [1, pos, vocab]
//! # Ok(()) }
//! ```
//!
//! Laws, held by tests: advancing a→b→c equals a→c bit for bit; a residual that is put back unchanged gives identical
//! logits; every family agrees with transformers in float32.

mod adapter;
mod checkpoint;
mod config;
mod decoder;
mod device;
mod error;
mod fingerprint;
mod generate;
pub mod host;
mod in_order;
mod map;
mod matrix_rate;
mod precision;
mod residual;
mod shared_tensor;
mod site;
mod spec;
mod steps;
mod threads;
mod tokenizer;
mod weights;

pub use checkpoint::Checkpoint;
pub use decoder::{Decoder, Divergences, KeyValueCache, Largest, Portion, Predictions, Untouched};
pub use device::parse_device;
pub use error::ModelError;
pub use fingerprint::{FileHash, Fingerprint};
pub use generate::{
    FinishReason, GenerateSettings, Generated, GenerationConfig, LogitsProcessors, PromptRow, Rollout, Sampling,
    generate,
};
pub use in_order::{Jobs, Stopped, in_order};
pub use map::{MappedFile, map_file};
pub use matrix_rate::matrix_product_rate;
pub use precision::Precision;
pub use residual::{Positions, Residual};
pub(crate) use shared_tensor::SharedTensor;
pub use site::{Hook, Site, Stop};
pub use spec::{
    Activation, AttentionBias, AttentionSpec, BlockSpec, DecoderSpec, HeadWeights, MlpBias, MlpGate, MlpSpec, NormKind,
    NormPlacement, NormSpec, NormWeight, PositionSpec, QueryKeyNorm, Residuals, RopeScaling, RopeSpec, WeightLayout,
};
pub use steps::steps;
pub use threads::{become_worker, limit_threads, workers};
pub use tokenizer::{EncodedText, SpecialToken, Tokenizer};

/// Turns gradient recording off for as long as the guard lives. Bind it to a name: a bare `_` drops it at once.
pub fn no_grad() -> tch::NoGradGuard {
    tch::no_grad_guard()
}
