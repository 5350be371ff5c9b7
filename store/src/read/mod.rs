//! Reading and checking a cache.

pub(crate) mod cache;
pub(crate) mod inspect;
pub(crate) mod site;
pub(crate) mod verify;
