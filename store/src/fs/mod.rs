//! Files and folders, independent of their contents: atomic writes, hashes, maps, locks.

pub(crate) mod disk;
#[cfg(test)]
pub(crate) mod failing;
#[cfg(any(test, feature = "failpoints"))]
pub(crate) mod failpoints;
pub(crate) mod folder;
pub(crate) mod hash;
pub(crate) mod json;
mod json_layout;
pub(crate) mod lock;
pub(crate) mod machine;
pub(crate) mod map;
pub(crate) mod open;
#[cfg(test)]
pub(crate) mod power_loss;
pub(crate) mod staged;
#[cfg(any(test, feature = "failpoints"))]
pub(crate) mod watched;
