//! Goodfire's SAEs, and one of DeepSeek-R1's distillation that is saved alike: one file, such as
//! `Llama-3.1-8B-Instruct-SAE-l19.pth`, with the encoder and the decoder of a standard SAE as linear layers.

use serde_json::Value;

use super::folder::Folder;
use super::{ConfigFile, Files, Format, Opened, WeightFiles};
use crate::config::{Architecture, SaeConfig};
use crate::error::SaeError;
use crate::tensor_files::{Taker, TensorFile};
use crate::tensors::{ArchitectureTensors, SaeTensors};

pub(super) const FORMAT: Format = Format {
    name: "goodfire",
    weights: WeightFiles::Several(|_: &Folder<'_>, name| published(name).is_some()),
    config: ConfigFile::None,
    open,
    take,
};

/// The model and the layer that a file's name says.
fn published(name: &str) -> Option<(&str, usize)> {
    let name = name.strip_suffix(".pth").or_else(|| name.strip_suffix(".pt"))?;
    let (model, layer) = name.rsplit_once("-SAE-l")?;
    Some((model, layer.parse().ok()?))
}

/// The names of the linear layers: `encoder_linear` and `decoder_linear`, or without the ending.
fn ending(weights: &TensorFile) -> &'static str {
    if weights.has("encoder_linear.weight") { "_linear" } else { "" }
}

fn open(files: &Files) -> Result<Opened, SaeError> {
    let weights = files.weights()?;
    let [d_sae, d_in] = weights.matrix(&format!("encoder{}.weight", ending(&weights)))?;
    let published = published(&files.weights_file);
    let config = SaeConfig {
        site: published.map(|(_, layer)| format!("blocks.{layer}.hook_resid_post")),
        model_name: published.map(|(model, _)| model.to_owned()),
        ..SaeConfig::new(Architecture::Standard, d_in, d_sae)
    };
    Ok(Opened { config, raw_config: Value::Null, weights })
}

fn take(opened: &Opened, taker: &mut Taker<'_>) -> Result<SaeTensors, SaeError> {
    let Opened { config, weights, .. } = opened;
    let (d_in, d_sae) = (config.d_in, config.d_sae);
    let name = |side: &str, what: &str| format!("{side}{}.{what}", ending(weights));
    Ok(SaeTensors {
        encoder: taker.turned(&name("encoder", "weight"), [d_sae, d_in])?,
        decoder: taker.turned(&name("decoder", "weight"), [d_in, d_sae])?,
        decoder_bias: taker.tensor(&name("decoder", "bias"), &[d_in])?,
        skip: None,
        input_bias: config.input_bias,
        normalisation: config.normalisation,
        own: ArchitectureTensors::Standard { bias: taker.tensor(&name("encoder", "bias"), &[d_sae])? },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_says_model_and_layer() {
        assert_eq!(published("Llama-3.1-8B-Instruct-SAE-l19.pth"), Some(("Llama-3.1-8B-Instruct", 19)));
        assert_eq!(published("Llama-3.3-70B-Instruct-SAE-l50.pt"), Some(("Llama-3.3-70B-Instruct", 50)));
        assert_eq!(published("autoencoder.pt"), None);
    }
}
