//! What was measured on some shards of a cache, and how that of all shards becomes results.
//!
//! ```text
//! a run over the whole cache ──► Measurement ──────────────────────────────────► assemble ──► Results
//! run --part 0/2 ──► Measurement ──► part-0-of-2.safetensors ─┐                      ▲
//! run --part 1/2 ──► Measurement ──► part-1-of-2.safetensors ─┴─► read ──► combine ──┘
//! ```
//!
//! Both ways end in [`assemble`], which is given the same sums of the same shards in the same order: so the figures have the same
//! bits. A [`Measurement`] holds nothing that depends on how the shards were shared out but what can be put together exactly: sums
//! of each shard by itself, whole numbers, and what is measured on the cache's first rows, which one part has.

mod assemble;
mod check;
mod combine;
mod differences;
mod error;
mod file;
mod header;
mod measurement;
mod merge;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use self::assemble::assemble;
pub use self::error::{Mismatch, PartialError};
pub(crate) use self::measurement::{CacheIdentity, KlProtocol, Measurement, Protocol, SaeIdentity, SectionMeasurement};
pub use self::merge::merge;
pub(crate) use self::merge::read_sealed_again;
pub use self::write::PartialResults;
