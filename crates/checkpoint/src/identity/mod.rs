//! The identity of a model: facts and tensors. `FORMAT.md` of `hayloft-store` has the recipe.

mod digests;
mod facts;
mod tensors;

pub(crate) use facts::facts;
pub(crate) use tensors::tensors_sha256;
