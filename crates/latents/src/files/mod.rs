//! The files: `latents.parquet` has a row for each latent, `examples.parquet` one for each example.

pub(crate) mod example_rows;
pub(crate) mod examples;
pub(crate) mod latent_rows;
pub(crate) mod latents;
mod reader;
pub(crate) mod table;
#[cfg(test)]
mod tests;
