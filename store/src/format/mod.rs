//! The on-disk format: records, tables and activation files.

pub(crate) mod activations;
pub(crate) mod difference;
pub(crate) mod group_sums;
pub(crate) mod manifest;
#[cfg(any(feature = "remote", feature = "maintain"))]
pub(crate) mod narrowing;
pub(crate) mod plan;
pub(crate) mod records;
pub(crate) mod section;
pub(crate) mod settings;
pub(crate) mod shard_record;
pub(crate) mod site;
pub(crate) mod statistics;
pub(crate) mod tables;
pub(crate) mod totals;
