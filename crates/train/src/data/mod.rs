//! The rows that a training draws, and those that it holds out. [`hayloft_rows::stream`] draws the batches.

mod census;
mod held_out;
mod largest_rows;
mod prefetch;

pub(super) use self::census::Census;
pub(super) use self::held_out::HeldOutRows;
pub use self::largest_rows::LargestRows;
pub(super) use self::prefetch::prefetch;
