//! A checkpoint's tensors: which names there must be, and the mapped files that hold them.

mod files;
mod layout;

pub(crate) use files::WeightFiles;
pub(crate) use layout::{BlockPart, names};
