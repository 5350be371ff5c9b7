//! The files that a training writes.

pub(crate) mod checkpoint;
pub(crate) mod log;
pub(crate) mod provenance;
pub(crate) mod save;
pub(crate) mod tensor_file;
