//! The tensors of a checkpoint: which are required, their names, and the mapped files that hold them.

pub(crate) mod adapter;
mod files;
pub(crate) mod in_place;
mod layout;
pub(crate) mod map;
pub(crate) mod stored;
pub(crate) mod tensor_names;

pub(crate) use files::WeightFiles;
pub(crate) use stored::{BlockPart, Stored};
