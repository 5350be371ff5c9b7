//! From a cache to batches of rows in random order, in bounded memory, with reads that stay sequential.
//!
//! ```text
//! shards, in another order each epoch ─► row groups ─► rows that are kept ─► mixing buffer ─► batch
//!        (a few shards at a time)         (in order)    (section, outliers,   (exchange at random)
//!                                                       not held out)
//! ```

mod ahead;
mod batches;
mod census;
mod filter;
pub(crate) mod generator;
mod held_out;
mod largest_rows;
mod mixing;
mod mixing_buffer;
mod open_shard;
mod reading_order;
mod row_stream;

pub(super) use self::ahead::draw_ahead;
pub(super) use self::batches::{Batch, BatchPlan, BatchState, Batches};
pub(super) use self::census::Census;
pub(super) use self::filter::RowFilter;
pub(super) use self::held_out::HeldOutRows;
pub use self::largest_rows::LargestRows;
pub use self::mixing::Mixing;
