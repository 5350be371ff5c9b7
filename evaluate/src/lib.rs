//! Evaluates sparse autoencoders (SAEs) on a cache of activations, by splicing their reconstructions into the model.
//!
//! ```text
//! cache ─► row group, prefetched ─► x = c · residual ─► SAE ─► r ─► sums: L0, error, explained variance
//!                 │                                            │
//!                 └────────────► residual, r/c spliced in ◄────┘
//!                                            │
//!                            block ─► … ─► block ─► losses at rows with a next token
//! ```
//!
//! [`run`] evaluates a whole cache and returns [`Results`](hayloft_results::Results), which can be printed and written
//! in several formats. [`run_part`] measures some shards, and [`merge`] combines all parts into the results of [`run`].
//! [`latents`] describes single latents without a model, in parts too.

mod baseline;
mod data;
mod error;
mod find_saes;
mod finetune;
#[doc(hidden)]
pub mod fuzzing;
mod latents;
mod measure;
mod metrics;
mod parts;
mod run;
mod session;
mod splice;

pub use baseline::summary::PreparedBaselines;
pub use error::EvaluateError;
pub use find_saes::{MOST_REGISTERED, SaeSearch, find_saes};
pub use finetune::{Evaluation, Finetuned, finetune};
pub use latents::{
    FrequentLatent, LatentChoice, LatentsReport, LatentsSettings, PartialLatents, SaeLatentsReport, latents,
    latents_part, matches_by_cosine, merge_latents,
};
pub use metrics::kl::KlChoice;
pub use parts::{Mismatch, PartKind, PartialError, PartialResults, find_parts, merge};
pub use run::{prepare_baselines, run, run_part, run_part_profiled, run_profiled};
pub use session::settings::{RunSettings, Splice};
pub use session::weights::WeightsChoice;
