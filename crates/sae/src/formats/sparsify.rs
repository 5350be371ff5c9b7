//! sparsify: `TopK` SAEs and transcoders, one folder per hook point.

use std::path::Path;

use serde::Deserialize;
use serde_json::Number;
use tch::{Device, Kind, Tensor};

use super::{Files, Format, Opened};
use crate::config::{Architecture, InputBias, Ranking, Role, SaeConfig, Skip};
use crate::error::SaeError;
use crate::tensor_files::Taker;
use crate::tensors::{ArchitectureTensors, SaeTensors};

pub(super) const FORMAT: Format = Format {
    name: "sparsify",
    weights_file: "sae.safetensors",
    config_file: Some("cfg.json"),
    is_whole: |_, _| false,
    open,
    take,
};

/// The fields of `cfg.json`. Any other field may affect the forward pass and is rejected.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    d_in: u64,
    expansion_factor: Option<u64>,
    #[serde(default)]
    num_latents: u64,
    k: Option<Number>,
    activation: Option<String>,
    #[serde(default)]
    transcode: bool,
    #[serde(default)]
    skip_connection: bool,
    #[serde(default)]
    signed: bool,
    /// Uses another k in the training loss only. Inference uses `k`.
    #[serde(rename = "multi_topk")]
    _multi_topk: Option<bool>,
    /// Training kept decoder rows at norm one. The stored weights are used as they are.
    #[serde(rename = "normalize_decoder")]
    _normalize_decoder: Option<bool>,
}

fn open(files: &Files) -> Result<Opened, SaeError> {
    let (source, weights) = (files.source(), files.weights()?);
    let (fields, raw_config): (Fields, _) = files.fields()?;
    let activation = fields.activation.as_deref().unwrap_or("topk");
    if activation != "topk" {
        let expected = "topk: what a group of latents competes in is in no file of this format";
        return Err(source.field("activation", expected, activation));
    }
    if fields.signed {
        return Err(source.field("signed", "false: latents are never negative here", true));
    }
    let d_in = source.size("d_in", fields.d_in)?;
    let named = match (fields.num_latents, fields.expansion_factor) {
        (0, Some(factor)) => fields.d_in.saturating_mul(factor),
        (0, None) => return Err(source.field("num_latents", "a number, or expansion_factor", "neither")),
        (latents, _) => latents,
    };
    let d_sae = source.size("num_latents", named)?;
    let skip = if fields.skip_connection { Skip::Matrix } else { Skip::None };
    if skip == Skip::Matrix && !fields.transcode {
        return Err(source.field("skip_connection", "false in an autoencoder", true));
    }
    let d_out = if fields.transcode && weights.has("W_dec") { weights.matrix("W_dec")?[1] } else { d_in };
    let (site, output_site) = sites(&files.folder, fields.transcode);
    let architecture =
        Architecture::TopK { k: source.whole_k(fields.k.as_ref(), d_sae)?, ranking: Ranking::PreActivation };
    let config = SaeConfig {
        role: if fields.transcode { Role::Transcoder(skip) } else { Role::Autoencoder },
        d_out,
        input_bias: if fields.transcode { InputBias::None } else { InputBias::DecoderBias },
        site,
        output_site,
        ..SaeConfig::new(architecture, d_in, d_sae)
    };
    Ok(Opened { config, raw_config, weights })
}

/// Derives the sites from the folder's name, which is the hook point. An autoencoder reads the module's output. A transcoder
/// maps the module's input to its output.
fn sites(folder: &Path, transcode: bool) -> (Option<String>, Option<String>) {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let Some((layer, module)) = name
        .split_once("layers.")
        .map(|(_, rest)| rest.split_once('.').unwrap_or((rest, "")))
        .and_then(|(layer, module)| Some((layer.parse::<usize>().ok()?, module)))
    else {
        return (None, None);
    };
    let site = |hook: &str| Some(format!("blocks.{layer}.{hook}"));
    match (module, transcode) {
        ("", false) => (site("hook_resid_post"), None),
        ("", true) => (site("hook_resid_pre"), site("hook_resid_post")),
        ("mlp", false) => (site("hook_mlp_out"), None),
        ("mlp", true) => (site("mlp.hook_in"), site("hook_mlp_out")),
        ("self_attn" | "attention" | "attn", false) => (site("hook_attn_out"), None),
        _ => (None, None),
    }
}

/// Takes the tensors, by the names of any version of the format.
fn take(opened: &Opened, taker: &mut Taker<'_>) -> Result<SaeTensors, SaeError> {
    let Opened { config, weights, .. } = opened;
    let (d_in, d_out, d_sae) = (config.d_in, config.d_out, config.d_sae);
    let Architecture::TopK { k, ranking } = config.architecture else { return Err(taker.contradiction("k")) };
    let zeros = |size: usize| Tensor::f_zeros([size as i64], (Kind::Float, Device::Cpu));
    let encoder = taker.turned("encoder.weight", [d_sae, d_in])?;
    let decoder = if weights.has("W_dec") {
        taker.tensor("W_dec", &[d_sae, d_out])?
    } else {
        taker.turned("decoder.weight", [d_out, d_sae])?
    };
    let bias = match taker.optional("encoder.bias", &[d_sae])? {
        Some(bias) => bias,
        None => zeros(d_sae)?,
    };
    Ok(SaeTensors {
        encoder,
        decoder,
        decoder_bias: taker.tensor("b_dec", &[d_out])?,
        skip: match config.role {
            Role::Transcoder(Skip::Matrix) => Some(taker.tensor("W_skip", &[d_out, d_in])?),
            _ => None,
        },
        input_bias: config.input_bias,
        normalisation: config.normalisation,
        own: ArchitectureTensors::TopK { bias, k, ranking },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_the_hook_point() {
        let of = |name: &str, transcode| sites(&Path::new("/x").join(name), transcode);
        let site = |hook: &str| Some(format!("blocks.5.{hook}"));
        assert_eq!(of("layers.5", false), (site("hook_resid_post"), None));
        assert_eq!(of("layers.5.mlp", false), (site("hook_mlp_out"), None));
        assert_eq!(of("layers.5.mlp", true), (site("mlp.hook_in"), site("hook_mlp_out")));
        assert_eq!(of("gpt_neox.layers.5", false), (site("hook_resid_post"), None));
        assert_eq!(of("embed_tokens", false), (None, None));
        assert_eq!(of("layers.x", false), (None, None));
    }
}
