//! Operations on whole caches: merge, extend, select, compare, repair.
//!
//! ```text
//!  merge   shards of several caches of one plan          → a new cache
//!  extend  shards, or sites, of another cache            → the same cache
//!  select  sites, shards, or sequences of a cache        → a new cache
//!  diff    two caches                                    → their differences
//!  repair  a damaged cache                               → a valid one, with missing shards for a resume to fill
//! ```
//!
//! They share the opening of a cache (`holding`), the comparison of two caches (`differences`), and the placing of
//! files (`placing`). None modifies a file in place: files are replaced whole.

#[cfg(test)]
mod crash;
mod destination;
mod diff;
mod differences;
mod extend;
mod gather;
mod holding;
mod merge;
mod number_range;
mod picking;
mod placing;
mod plan_repair;
mod repair;
mod replacing;
mod select;
mod values;

pub use diff::{CacheDiff, FileDiff, SettingDiff, diff};
pub use extend::{Extended, extend};
pub use merge::{Merged, Taken, merge};
pub use number_range::NumberRange;
pub use placing::{Files, Placed};
pub use repair::{Repair, Repaired, repair};
pub use select::{Selected, Selection, select};
pub use values::{Place, ValueDiff};
