//! SAELens's native layout: a folder with `cfg.json` and `sae_weights.safetensors`.
//!
//! Other files, such as `sparsity.safetensors`, are training history and are never opened.

mod config;
mod fields;
mod flat;
mod nested;
mod tensors;
mod trained_on;

use self::tensors::take;
use super::{ConfigFile, Files, Format, Opened, WeightFiles};
use crate::error::SaeError;

pub(super) const FORMAT: Format = Format {
    name: "saelens",
    weights: WeightFiles::named("sae_weights.safetensors"),
    config: ConfigFile::Named("cfg.json"),
    open,
    take,
};

fn open(files: &Files) -> Result<Opened, SaeError> {
    // Parse the configuration first: its errors are more specific than those of the weights.
    let (config, raw_config) = config::parse(&files.source(), &files.config)?;
    Ok(Opened { config, raw_config, weights: files.weights()? })
}
