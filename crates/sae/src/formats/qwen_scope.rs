//! Qwen-Scope: `TopK` SAEs of the residual stream after each block, one file `layerN.sae.pt` a block. The published path, such
//! as `SAE-Res-Qwen3-1.7B-Base-W32K-L0_50`, or `config.json` beside the files, gives k and the model.

use serde::Deserialize;
use serde_json::{Number, Value};

use super::folder::Folder;
use super::{ConfigFile, Files, Format, Opened, WeightFiles};
use crate::config::{Architecture, Ranking, SaeConfig};
use crate::error::SaeError;
use crate::tensor_files::Taker;
use crate::tensors::{ArchitectureTensors, SaeTensors};

pub(super) const FORMAT: Format = Format {
    name: "qwen-scope",
    weights: WeightFiles::Several(is_one),
    config: ConfigFile::Optional("config.json"),
    open,
    take,
};

/// Fields of `config.json`. `num_layers` is of the whole release, and the dtype is that of the stored tensors.
#[derive(Default, Deserialize)]
struct Fields {
    model_type: Option<String>,
    base_model: Option<String>,
    d_model: Option<u64>,
    d_sae: Option<u64>,
    k: Option<Number>,
    hook_point: Option<String>,
}

fn is_one(_: &Folder<'_>, name: &str) -> bool {
    layer(name).is_some()
}

/// N of `layerN.sae.pt`.
fn layer(name: &str) -> Option<usize> {
    name.strip_prefix("layer")?.strip_suffix(".sae.pt")?.parse().ok()
}

/// What the repository's name says: the model and k.
fn published(folders: &[String]) -> Option<(String, u64)> {
    let (_, rest) = folders.iter().find_map(|name| name.split_once("SAE-Res-"))?;
    let (model, rest) = rest.rsplit_once("-W")?;
    let (_, k) = rest.split_once("-L0_")?;
    let digits = k.split(|character: char| !character.is_ascii_digit()).next()?;
    Some((format!("Qwen/{model}"), digits.parse().ok()?))
}

fn open(files: &Files) -> Result<Opened, SaeError> {
    let (source, weights) = (files.source(), files.weights()?);
    let (fields, raw_config): (Fields, _) =
        if files.has_config() { files.fields()? } else { (Fields::default(), Value::Null) };
    for (field, value, expected) in
        [("model_type", &fields.model_type, "topk_sae"), ("hook_point", &fields.hook_point, "resid_post")]
    {
        if let Some(value) = value.as_ref().filter(|value| *value != expected) {
            return Err(source.field(field, expected, value));
        }
    }
    let [d_sae, d_in] = weights.matrix("W_enc")?;
    for (field, value, held) in [("d_model", fields.d_model, d_in), ("d_sae", fields.d_sae, d_sae)] {
        if let Some(value) = value.filter(|value| *value != held as u64) {
            return Err(source.field(field, format!("{held}, as W_enc in {} has", files.weights_file), value));
        }
    }
    let published = published(&files.folder_names());
    let named = published.as_ref().map(|(_, k)| Number::from(*k));
    let k = match (fields.k, named) {
        (Some(said), Some(named)) if said != named => {
            return Err(source.field("k", format!("{named}, as the published path says (L0_{named})"), said));
        }
        (None, None) => {
            let expected =
                "config.json with k, or a path as it is published, such as SAE-Res-Qwen3-1.7B-Base-W32K-L0_50";
            return Err(source.field("k", expected, "neither"));
        }
        (said, named) => said.or(named),
    };
    let k = source.whole_k(k.as_ref(), d_sae)?;
    let config = SaeConfig {
        site: layer(&files.weights_file).map(|layer| format!("blocks.{layer}.hook_resid_post")),
        model_name: fields.base_model.or(published.map(|(model, _)| model)),
        ..SaeConfig::new(Architecture::TopK { k, ranking: Ranking::PreActivation }, d_in, d_sae)
    };
    Ok(Opened { config, raw_config, weights })
}

fn take(opened: &Opened, taker: &mut Taker<'_>) -> Result<SaeTensors, SaeError> {
    let config = &opened.config;
    let (d_in, d_sae) = (config.d_in, config.d_sae);
    let Architecture::TopK { k, ranking } = config.architecture else { return Err(taker.contradiction("k")) };
    Ok(SaeTensors {
        encoder: taker.turned("W_enc", [d_sae, d_in])?,
        decoder: taker.turned("W_dec", [d_in, d_sae])?,
        decoder_bias: taker.tensor("b_dec", &[d_in])?,
        skip: None,
        input_bias: config.input_bias,
        normalisation: config.normalisation,
        own: ArchitectureTensors::TopK { bias: taker.tensor("b_enc", &[d_sae])?, k, ranking },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_layer_model_and_k() {
        assert_eq!((layer("layer27.sae.pt"), layer("layer.sae.pt"), layer("layer1.pt")), (Some(27), None, None));
        let of = |name: &str| published(&[name.to_owned()]);
        let expected = Some(("Qwen/Qwen3-1.7B-Base".to_owned(), 50));
        assert_eq!(of("SAE-Res-Qwen3-1.7B-Base-W32K-L0_50"), expected);
        assert_eq!(of("models--Qwen--SAE-Res-Qwen3-1.7B-Base-W32K-L0_50"), expected);
        assert_eq!(of("saes"), None);
    }
}
