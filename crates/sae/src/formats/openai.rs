//! `OpenAI`'s autoencoders: one file with the state dict of one class and the name of its activation function. `TopK` models
//! normalise each row to mean 0 and standard deviation 1.

use serde_json::{Number, Value};

use super::folder::Folder;
use super::source::Source;
use super::{ConfigFile, Files, Format, Opened, WeightFiles};
use crate::config::{Architecture, InputBias, Ranking, SaeConfig};
use crate::error::SaeError;
use crate::normalisation::Normalisation;
use crate::tensor_files::Taker;
use crate::tensors::{ArchitectureTensors, SaeTensors};

pub(super) const FORMAT: Format = Format {
    name: "openai",
    weights: WeightFiles::Named { name: "autoencoder.pt", also: is_alone },
    config: ConfigFile::None,
    open,
    take,
};

/// A file of `PyTorch` that no other format claims, in a folder without a configuration.
fn is_alone(folder: &Folder<'_>, name: &str) -> bool {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    matches!(ending, Some("pt" | "pth")) && !folder.has("config.json")
}

/// Training statistics.
const OF_TRAINING: [&str; 3] = ["stats_last_nonzero", "latents_activation_frequency", "latents_mean_square"];

/// Derives the configuration from the weight file.
fn open(files: &Files) -> Result<Opened, SaeError> {
    let weights = files.weights()?;
    let [d_sae, d_in] = weights.matrix("encoder.weight")?;
    let source = Source { path: weights.path() };
    let mut taker = weights.take();
    let architecture = match taker.text("activation")?.as_deref() {
        Some("TopK") => {
            let k = taker.number("activation_state_dict.k")?.and_then(Number::from_f64);
            let after = taker.text("activation_state_dict.postact_fn")?;
            if let Some(other) = after.filter(|after| after != "ReLU") {
                return Err(source.field("activation_state_dict.postact_fn", "ReLU", other));
            }
            Architecture::TopK { k: source.whole_k(k.as_ref(), d_sae)?, ranking: Ranking::PreActivation }
        }
        // The oldest files do not name the activation function.
        Some("ReLU") | None => Architecture::Standard,
        Some(other) => return Err(source.field("activation", "TopK or ReLU", other)),
    };
    let config = SaeConfig {
        input_bias: InputBias::DecoderBias,
        normalisation: match architecture {
            Architecture::TopK { .. } => Normalisation::LayerNorm,
            _ => Normalisation::None,
        },
        ..SaeConfig::new(architecture, d_in, d_sae)
    };
    Ok(Opened { config, raw_config: Value::Null, weights })
}

fn take(opened: &Opened, taker: &mut Taker<'_>) -> Result<SaeTensors, SaeError> {
    let config = &opened.config;
    let (d_in, d_sae) = (config.d_in, config.d_sae);
    taker.pass_over(&OF_TRAINING);
    taker.pass_over(&["activation", "activation_state_dict.k", "activation_state_dict.postact_fn"]);
    // Later versions store these fields twice.
    taker.pass_over(&["activation.k", "activation.postact_fn"]);
    let bias = taker.tensor("latent_bias", &[d_sae])?;
    Ok(SaeTensors {
        encoder: taker.turned("encoder.weight", [d_sae, d_in])?,
        decoder: taker.turned("decoder.weight", [d_in, d_sae])?,
        decoder_bias: taker.tensor("pre_bias", &[d_in])?,
        skip: None,
        input_bias: config.input_bias,
        normalisation: config.normalisation,
        own: match config.architecture {
            Architecture::TopK { k, ranking } => ArchitectureTensors::TopK { bias, k, ranking },
            _ => ArchitectureTensors::Standard { bias },
        },
    })
}
