//! An SAE held against the cache and the model that it is trained or evaluated on.

pub(crate) mod bos;
pub(crate) mod sae_site;
pub(crate) mod special_tokens;
pub(crate) mod training_origin;
