//! SAELens's native layout: a folder with `cfg.json` and `sae_weights.safetensors`.
//!
//! Other files, such as `sparsity.safetensors`, are training history and are never opened.

mod config;
mod fields;
mod flat;
mod nested;
mod tensors;
mod trained_on;

pub(super) use self::config::parse;
pub(super) use self::tensors::take;
