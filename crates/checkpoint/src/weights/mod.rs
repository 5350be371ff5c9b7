//! The tensors of a checkpoint: which are required, their names, and the mapped files that hold them.

pub(crate) mod adapter;
mod files;
pub(crate) mod in_place;
mod layout;
pub(crate) mod map;
mod stored;
pub mod tensor_names;

pub(crate) use files::{Entry, WeightFile};
pub use files::{StoredTensor, WeightFiles};
pub use stored::{BlockPart, Cut, Stored};
