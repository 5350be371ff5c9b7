//! SAEs of the attention heads' outputs of GPT-2 small (`gpt2-small-hook-z-kk` of SAELens's registry): `NAME.pt` holds the
//! state dict of a standard SAE, `NAME_cfg.json` the training's configuration.

use serde::Deserialize;

use super::folder::Folder;
use super::{ConfigFile, Files, Format, Opened, WeightFiles};
use crate::config::{Architecture, InputBias, SaeConfig};
use crate::error::SaeError;
use crate::tensor_files::Taker;
use crate::tensors::{ArchitectureTensors, SaeTensors};

pub(super) const FORMAT: Format = Format {
    name: "attn-saes",
    weights: WeightFiles::Several(is_one),
    config: ConfigFile::Beside { weights: ".pt", config: "_cfg.json" },
    open,
    take,
};

/// Fields of the configuration. The others concern training only.
#[derive(Deserialize)]
struct Fields {
    act_size: u64,
    dict_size: u64,
    act_name: String,
    model_name: Option<String>,
}

fn is_one(folder: &Folder<'_>, name: &str) -> bool {
    name.strip_suffix(".pt").is_some_and(|name| folder.has(&format!("{name}_cfg.json")))
}

fn open(files: &Files) -> Result<Opened, SaeError> {
    let source = files.source();
    let (fields, raw_config): (Fields, _) = files.fields()?;
    let (d_in, d_sae) = (source.size("act_size", fields.act_size)?, source.size("dict_size", fields.dict_size)?);
    let config = SaeConfig {
        input_bias: InputBias::DecoderBias,
        site: Some(fields.act_name),
        model_name: fields.model_name,
        ..SaeConfig::new(Architecture::Standard, d_in, d_sae)
    };
    Ok(Opened { config, raw_config, weights: files.weights()? })
}

fn take(opened: &Opened, taker: &mut Taker<'_>) -> Result<SaeTensors, SaeError> {
    let config = &opened.config;
    let (d_in, d_sae) = (config.d_in, config.d_sae);
    Ok(SaeTensors {
        encoder: taker.tensor("W_enc", &[d_in, d_sae])?,
        decoder: taker.tensor("W_dec", &[d_sae, d_in])?,
        decoder_bias: taker.tensor("b_dec", &[d_in])?,
        skip: None,
        input_bias: config.input_bias,
        normalisation: config.normalisation,
        own: ArchitectureTensors::Standard { bias: taker.tensor("b_enc", &[d_sae])? },
    })
}
