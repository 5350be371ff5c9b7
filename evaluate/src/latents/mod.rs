//! Statistics of the latents of SAEs on a cache, without a model.
//!
//! ```text
//! cache ─► batch, prefetched ─► x = c · residual ─► encoder ─► latents above zero ─► statistics ─┬─► latents.parquet
//!                                                                              token tables ─────┴─► examples.parquet
//! ```

mod ablation;
mod choice;
mod contexts;
mod delphi;
mod logits;
mod matches;
mod pass;
mod report;
mod run;
mod settings;

pub use self::choice::LatentChoice;
pub use self::matches::matches_by_cosine;
pub use self::report::{FrequentLatent, LatentsReport, SaeLatentsReport};
pub use self::run::latents;
pub use self::settings::LatentsSettings;
