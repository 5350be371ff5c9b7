//! Compatibility checks of an SAE with the cache and model it is trained or evaluated on.

pub(crate) mod bos;
pub(crate) mod sae_site;
pub(crate) mod special_tokens;
pub(crate) mod training_origin;
