//! Draws batches of rows from a cache, in random order or in that of the cache, in bounded memory and with sequential
//! reads.
//!
//! ```text
//! shards, in another order each epoch ─► row groups ─► kept rows ──────────► mixing buffer ─► batch
//!        (a few shards at a time)         (in order)    (section, outliers,   (random exchange)
//!                                                       not held out)
//! ```

mod batches;
mod filter;
mod generator;
mod mixing;
mod mixing_buffer;
mod open_shard;
mod reading;
mod reading_order;
mod row_groups;
mod row_memory;
mod row_run;
mod row_stream;

pub use self::batches::{Batch, BatchPlan, BatchState, Batches};
pub use self::filter::RowFilter;
pub use self::generator::{Generator, Purpose};
pub use self::mixing::Mixing;
pub use self::reading::Reading;
pub use self::row_groups::KeptRows;
pub use self::row_memory::RowMemory;
pub use self::row_run::Origin;
