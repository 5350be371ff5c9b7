//! What is done to whole caches: put together, extended, cut down, compared, repaired.
//!
//! ```text
//!  merge    shards of several caches of one plan          → a new cache
//!  extend   shards, or sites, of another cache            → the same cache
//!  select   sites, shards, or sequences of a cache        → a new cache
//!  diff     two caches                                    → what differs
//!  repair   a damaged cache                               → one that is whole, and what a resume is to refill
//!  upgrade  a cache of an earlier version of the format   → one of the present version
//! ```
//!
//! They share how a cache is taken in hand (`holding`), how two are found to be of a kind (`differences`), and how
//! files get from one to another (`placing`). None changes a file that is in its place; what is replaced is replaced whole.

#[cfg(test)]
mod crash;
mod destination;
mod diff;
mod differences;
mod extend;
mod gather;
mod holding;
mod merge;
pub(crate) mod narrowing;
mod number_range;
mod picking;
mod placing;
mod plan_repair;
mod repair;
mod replacing;
mod select;
mod upgrade;
mod values;
pub(crate) mod verify;

pub use diff::{CacheDiff, FileDiff, SettingDiff, diff};
pub use extend::{Extended, extend};
pub use merge::{Merged, Taken, merge};
pub use number_range::NumberRange;
pub use placing::{Files, Placed};
pub use repair::{Repair, Repaired, repair};
pub use select::{Selected, Selection, select};
pub use upgrade::{Upgraded, upgrade};
pub use values::{Place, ValueDiff};
