//! The files: `latents.parquet` has a row for each latent, `examples.parquet` one for each example.

pub(crate) mod examples;
pub(crate) mod latents;
mod table;
