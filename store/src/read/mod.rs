//! Reading and checking a cache.

pub(crate) mod cache;
pub(crate) mod inspect;
pub(crate) mod row_reader;
pub(crate) mod site;
mod token_batch;
pub(crate) mod verify;
