//! Draws batches of rows in random order from a cache, in bounded memory and with sequential reads.
//!
//! ```text
//! shards, in another order each epoch ─► row groups ─► kept rows ──────────► mixing buffer ─► batch
//!        (a few shards at a time)         (in order)    (section, outliers,   (random exchange)
//!                                                       not held out)
//! ```

mod batches;
mod census;
mod filter;
pub(crate) mod generator;
mod held_out;
mod largest_rows;
mod mixing;
mod mixing_buffer;
mod open_shard;
mod prefetch;
mod reading_order;
mod row_stream;

pub(super) use self::batches::{Batch, BatchPlan, BatchState, Batches};
pub(super) use self::census::Census;
pub(super) use self::filter::RowFilter;
pub(super) use self::held_out::HeldOutRows;
pub use self::largest_rows::LargestRows;
pub use self::mixing::Mixing;
pub(super) use self::prefetch::prefetch;
