//! SAELens's native layout: a folder with `cfg.json` and `sae_weights.safetensors`.
//!
//! `sparsity.safetensors` and whatever else lies in the folder is training history and never opened.

mod config;
mod fields;
mod flat;
mod nested;
mod tensors;
mod trained_on;

pub(super) use self::config::parse;
pub(super) use self::tensors::take;
