//! Compatibility checks of an SAE with the cache and model it is trained or evaluated on.

pub(crate) mod sae_site;
pub(crate) mod tokens;
pub(crate) mod training_origin;
