//! sparsify: `TopK` SAEs and transcoders, one folder per hook point.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Number, Value};
use tch::{Device, Kind, Tensor};

use super::source::Source;
use super::{ConfigFile, Files, Format, Opened, WeightFiles};
use crate::config::{Architecture, InputBias, Ranking, Role, SaeConfig, Skip};
use crate::error::SaeError;
use crate::tensor_files::Taker;
use crate::tensors::{ArchitectureTensors, SaeTensors};

pub(super) const FORMAT: Format = Format {
    name: "sparsify",
    weights: WeightFiles::named("sae.safetensors"),
    config: ConfigFile::Named("cfg.json"),
    open,
    take,
};

/// The fields of `cfg.json`. Any other field may affect the forward pass and is rejected.
#[derive(Deserialize)]
struct Fields {
    d_in: u64,
    expansion_factor: Option<u64>,
    #[serde(default)]
    num_latents: u64,
    k: Option<Number>,
    activation: Option<String>,
    /// Absent in files from before February 2025, of transcoders too.
    transcode: Option<bool>,
    #[serde(default)]
    skip_connection: bool,
    #[serde(default)]
    signed: bool,
    /// The other fields: each is known to have no effect, or none at one value.
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

/// Fields that affect training only: `multi_topk` uses another k in the loss; `normalize_decoder` kept decoder rows at norm
/// one; `dtype` is not that of the stored tensors; `tp_output` distributed the decoder over devices; `train_post_encoder`
/// trained `post_enc`, whose values are in the file.
const INERT: [&str; 5] = ["multi_topk", "normalize_decoder", "dtype", "tp_output", "train_post_encoder"];

/// Rejects unknown fields, and those of clt-training, `EleutherAI`'s trainer of cross-layer transcoders, at values that change
/// the forward pass: all but the defaults.
fn check_rest(source: &Source<'_>, rest: &BTreeMap<String, Value>) -> Result<(), SaeError> {
    let (no, none, zero) = (Value::Bool(false), Value::from("none"), Value::from(0));
    let mut unknown = Vec::new();
    for (field, value) in rest {
        let expected = match field.as_str() {
            "n_targets" | "n_sources" | "d_out" => &zero,
            "normalize_io"
            | "divide_cross_layer"
            | "post_encoder_scale"
            | "per_source_tied"
            | "secondary_target_tied"
            | "topk_coalesced"
            | "use_fp8" => &no,
            "coalesce_topk" => &none,
            inert if INERT.contains(&inert) => continue,
            _ => {
                unknown.push(field);
                continue;
            }
        };
        if value != expected {
            return Err(source.field(field, format!("{expected}, as in a transcoder of one layer"), value));
        }
    }
    match unknown.first() {
        None => Ok(()),
        Some(field) => Err(SaeError::UnknownField {
            path: source.path.to_path_buf(),
            field: (*field).clone(),
            count: unknown.len(),
        }),
    }
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
    check_rest(&source, &fields.rest)?;
    let d_in = source.size("d_in", fields.d_in)?;
    let named = match (fields.num_latents, fields.expansion_factor) {
        (0, Some(factor)) => fields.d_in.saturating_mul(factor),
        (0, None) => return Err(source.field("num_latents", "a number, or expansion_factor", "neither")),
        (latents, _) => latents,
    };
    let d_sae = source.size("num_latents", named)?;
    let skip = if fields.skip_connection { Skip::Matrix } else { Skip::None };
    let told = files.options.transcoder.is_some();
    let is_transcoder = match fields.transcode {
        Some(false) if told => return Err(source.field("transcode", "true, as --transcode says", false)),
        Some(false) if skip == Skip::Matrix => {
            return Err(source.field("skip_connection", "false in an autoencoder", true));
        }
        Some(transcode) => transcode,
        // Only transcoders were trained with a skip connection.
        None => told || skip == Skip::Matrix,
    };
    // Files without the field are of versions that subtracted the decoder bias in transcoders too.
    let subtracts = fields.transcode != Some(true);
    let d_out = if is_transcoder && weights.has("W_dec") { weights.matrix("W_dec")?[1] } else { d_in };
    if subtracts && d_out != d_in {
        return Err(source.field("transcode", "true, where input and output have other widths", "nothing"));
    }
    let (site, output_site) = sites(&files.folder, is_transcoder);
    let architecture =
        Architecture::TopK { k: source.whole_k(fields.k.as_ref(), d_sae)?, ranking: Ranking::PreActivation };
    let config = SaeConfig {
        role: if is_transcoder { Role::Transcoder(skip) } else { Role::Autoencoder },
        d_out,
        input_bias: if subtracts { InputBias::DecoderBias } else { InputBias::None },
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
    // clt-training adds it to latents above zero.
    taker.all_zeros("post_enc", &[d_sae])?;
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
