//! Evaluates sparse autoencoders (SAEs) against a cache of activations, by putting their reconstructions back into the
//! model.
//!
//! ```text
//! cache ─► row group, read ahead ─► x = c · residual ─► SAE ─► r ─► sums: L0, error, explained variance
//!                 │                                             │
//!                 └──────────────► residual, r/c put back ◄─────┘
//!                                             │
//!                           block ─► … ─► block ─► losses at the positions that count
//! ```
//!
//! [`run`] is the whole of it; [`Results`](hayloft_results::Results) can be printed and written in several forms. [`run_part`] measures
//! some shards, and [`merge`] makes of all parts what [`run`] gives.

mod baseline;
mod data;
mod error;
mod finetune;
#[doc(hidden)]
pub mod fuzzing;
mod measure;
mod metrics;
mod parts;
mod run;
mod session;
mod splice;

pub use baseline::prepared::PreparedBaselines;
pub use error::EvaluateError;
pub use finetune::{Evaluation, Finetuned, finetune};
pub use metrics::kl::KlChoice;
pub use parts::{Mismatch, PartialError, PartialResults, merge};
pub use run::{prepare_baselines, run, run_part, run_part_profiled, run_profiled};
pub use session::settings::{RunSettings, Splice};
pub use session::weights::WeightsChoice;
