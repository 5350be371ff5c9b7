//! Batched generation with results that do not depend on the batch.
//!
//! [`generate`] takes prompts of different lengths, runs them as one batch over a [cache](crate::KeyValueCache), and removes
//! each row when it ends. The output of a row depends only on its prompt, the settings and its number, not on the other
//! rows, their order, or where a run was resumed.
//!
//! Random numbers are functions of seed, row and position ([`Sampling`]). Logits are harder: kernels change their summation
//! order with the number of rows, so that the last bits of a row depend on its batch. In float32, every choice is therefore
//! checked: if another summation order could change it, it is repeated for the row alone with the uncached forward pass,
//! which is independent of the batch. In bf16 and f16 too many choices are close for that. There a row may depend on its
//! batch, and repeats exactly only within the same batch.

mod choice;
mod config;
mod processors;
mod progress;
mod random;
mod rollout;
mod run;
mod sampling;

pub use config::GenerationConfig;
pub use processors::LogitsProcessors;
pub use progress::Generated;
pub use rollout::{FinishReason, PromptRow, Rollout};
pub use run::{GenerateSettings, generate};
pub use sampling::Sampling;
