//! Statistics of all latents of one SAE: collected by threads, put together over parts of the tokens, and finished.

mod collect;
mod latents;
mod partial;

pub use collect::{BatchStatistics, Statistics};
pub use latents::{GroupTokens, Latent, SaeLatents};
pub use partial::PartialStatistics;
