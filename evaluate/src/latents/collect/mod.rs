//! Collects what is asked for of the latents on some shards.

mod ablation;
pub(super) mod collected;
mod delphi;
mod logits;
pub(super) mod opened;
mod pass;
