//! Statistics of the latents of SAEs on a cache, without a model.
//!
//! ```text
//! cache ─► batch, prefetched ─► x = c · residual ─► encoder ─► latents above zero ─► statistics ─┬─► latents.parquet
//!                                                                       parts, merged ─┘         │
//!                                                                              token tables ─────┴─► examples.parquet
//! ```

mod choice;
mod collect;
mod matches;
mod output;
mod part;
mod report;
mod run;
mod settings;

pub use self::choice::LatentChoice;
pub use self::matches::matches_by_cosine;
pub(crate) use self::part::merge_sealed_again;
pub use self::part::{PartialLatents, merge_latents};
pub use self::report::{FrequentLatent, LatentsReport, SaeLatentsReport};
pub use self::run::{latents, latents_part};
pub use self::settings::LatentsSettings;
