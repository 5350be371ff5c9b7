//! Measurements of some shards of a cache, and how they are combined into results.
//!
//! ```text
//! a run over the whole cache ──► Measurement ──────────────────────────────────► assemble ──► Results
//! run --part 0/2 ──► Measurement ──► part-0-of-2.safetensors ─┐                      ▲
//! run --part 1/2 ──► Measurement ──► part-1-of-2.safetensors ─┴─► read ──► combine ──┘
//! ```
//!
//! Both paths end in [`assemble`], which receives the same sums of the same shards in the same order, so the metrics
//! are bit-identical. A [`Measurement`] holds only what can be combined exactly, however the shards are split: sums per
//! shard, integers, and quantities measured on the cache's first rows, which exactly one part has.

mod assemble;
mod check;
mod combine;
mod differences;
mod error;
mod file;
mod find;
mod header;
mod measurement;
mod merge;
pub(crate) mod sealed;
#[cfg(test)]
mod tests;
mod tile;
mod write;

pub(crate) use self::assemble::assemble;
pub(crate) use self::differences::{Difference, first_difference};
pub use self::error::{Mismatch, PartialError};
pub(crate) use self::find::{LATENTS_FORMAT, file_name, find_parts_of};
pub use self::find::{PartKind, find_parts};
pub(crate) use self::header::PartRecord;
pub(crate) use self::measurement::{CacheIdentity, KlProtocol, Measurement, Protocol, SaeIdentity, SectionMeasurement};
pub use self::merge::merge;
pub(crate) use self::merge::read_sealed_again;
pub(crate) use self::tile::{Tile, tile};
pub use self::write::PartialResults;
pub(crate) use self::write::part_in_words;
