//! Decoder-only language models whose residual stream can be stopped and resumed.
//!
//! A Hugging Face folder is opened as a [`Checkpoint`](hayloft_checkpoint::Checkpoint), and a [`Portion`] of its weights is
//! loaded as a [`Decoder`]. The decoder has no hooks: it embeds tokens into a [`Residual`],
//! advances the residual from block to block, and predicts from the last one.
//!
//! ```no_run
//! use hayloft_checkpoint::Checkpoint;
//! use hayloft_model::{Decoder, Portion, Positions, Tokenizer, no_grad, parse_device};
//! use hayloft_runtime::Dtype;
//! # fn main() -> Result<(), hayloft_model::ModelError> {
//! let _guard = no_grad();
//! let folder = std::path::Path::new("mistral-7b");
//! let checkpoint = Checkpoint::open(folder)?;
//! let device = parse_device("cuda:0")?;
//! let decoder = Decoder::load(&checkpoint, Portion::Whole, Dtype::Bf16, device)?;
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
//! Invariants, checked by tests: advancing a→b→c equals a→c bit for bit; splicing a residual unchanged gives identical
//! logits; every family agrees with transformers in float32.

mod compute;
mod decoder;
mod error;
mod generate;
mod residual;
mod site;
mod tensors;
mod tokenizer;

pub use compute::device::parse_device;
pub use compute::in_order::{Jobs, Stopped, in_order};
pub use compute::kind::kind;
pub use compute::matrix_rate::matrix_product_rate;
pub use compute::steps::steps;
pub use compute::threads::{become_worker, limit_threads, workers};
pub use decoder::{CleanRun, Decoder, Divergences, KeyValueCache, Largest, LogitEffects, Portion, Predictions};
pub use error::ModelError;
pub use generate::{
    FinishReason, GenerateSettings, Generated, GenerationConfig, LogitsProcessors, PromptRow, Rollout, Sampling,
    generate,
};
pub use residual::{Positions, Residual};
pub use site::{Hook, Site, Stop};
pub use tensors::tensor_slice::{append_bytes, floats_of};
pub use tokenizer::{EncodedText, SpecialToken, Tokenizer};

/// Disables gradient recording while the guard lives. Bind it to a name: a bare `_` drops it at once.
pub fn no_grad() -> tch::NoGradGuard {
    tch::no_grad_guard()
}
