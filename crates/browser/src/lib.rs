//! A browser page of latents: a folder of static files, from the Parquet files of their statistics.
//!
//! ```text
//! latents.parquet, examples.parquet ──► Sources ──┐
//! explanations, in files of several formats ──────┼──► Page ──► index.html, page.css, scripts
//! pairs of SAEs, and which latents match ─────────┘         └─► data/: columns, labels, latents, token index
//! ```
//!
//! A page that is opened from disk may load scripts, and nothing else. So data are scripts that register themselves, in pieces
//! of bounded size, which the page loads when it shows them.

#![warn(missing_debug_implementations, unreachable_pub)]

mod comparison;
mod error;
mod explanations;
mod latent_pieces;
mod page;
mod scripts;
mod sources;
mod spelling;
mod summary;
mod token_index;

#[cfg(test)]
mod tests;

pub use comparison::{Comparison, Match};
pub use error::BrowserError;
pub use explanations::{Explanation, Explanations};
pub use page::Page;
pub use sources::{SaeSource, Sources};
pub use summary::{PageSummary, SaeCounts};
