//! Text from a model: many prompts at once, each as if it were alone.
//!
//! [`generate`] takes prompts of several lengths, runs them as one batch over a [cache](crate::KeyValueCache), and lets
//! each row go as soon as it has ended. What a row says depends on its prompt, the settings and its number alone: not on
//! its neighbours, their order, or where a run was taken up again.
//!
//! For random numbers that is arranged by making each a function of seed, row and place ([`Sampling`]). For the logits
//! it takes more: kernels add in another order for another number of rows, and the last bits of a row change with its
//! batch. So in float32 every choice is examined: where another order of adding could turn it, it is made again from
//! the row alone, by the uncached forward pass, which knows nothing of any batch. In bf16 and f16 too many choices are
//! close for that; there a row may differ with its batch, and repeats exactly only in the same batch.

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
