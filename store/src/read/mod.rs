//! Reading a cache.

pub(crate) mod cache;
pub(crate) mod inspect;
