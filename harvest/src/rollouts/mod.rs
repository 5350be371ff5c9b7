//! A chat model answers instructions: rollouts, made in batches and kept as Parquet.
//!
//! ```text
//! data manifest ─► instructions ─► prompts ─► batches ─► OUT.parts/00000.parquet, 00001.parquet, …  ─► OUT
//! ```
//!
//! Each finished batch is a part of its own, written whole or not at all and with the settings that it was made with in
//! its metadata. [`rollouts`] with [`Existing::Resume`](hayloft_store::Existing::Resume) keeps the parts that are there
//! and makes the others; the file that all parts are put together into is the same as without an interruption, byte for
//! byte.

mod batches;
mod error;
mod file;
mod parts;
mod prompts;
mod record;
mod row;
mod run;
mod settings;
mod summary;

pub use error::RolloutError;
pub use file::read_rollouts;
pub(crate) use file::write_rollouts;
pub use record::RolloutsRecord;
pub use row::RolloutRow;
pub use run::rollouts;
pub use settings::RolloutSettings;
pub use summary::{Glimpse, RolloutSummary};
