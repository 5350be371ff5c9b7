//! Rollouts: a chat model's replies to instructions, generated in batches and stored as Parquet.
//!
//! ```text
//! data manifest ─► instructions ─► prompts ─► batches ─► OUT.parts/00000.parquet, 00001.parquet, …  ─► OUT
//! ```
//!
//! Each finished batch is a separate part file. A part is written atomically and stores its settings in the metadata.
//! [`rollouts`] with [`Existing::Resume`](hayloft_store::Existing::Resume) keeps the existing parts and generates the
//! others. The merged file is byte-identical to that of an uninterrupted run.

mod error;
mod file;
mod parts;
mod prompts;
mod record;
mod run;
mod settings;
mod summary;

pub use error::RolloutError;
pub(crate) use file::write_rollouts;
pub use file::{RolloutRow, read_rollouts};
pub use record::RolloutsRecord;
pub(crate) use run::in_words;
pub use run::rollouts;
pub use settings::RolloutSettings;
pub use summary::{RolloutExample, RolloutSummary};
