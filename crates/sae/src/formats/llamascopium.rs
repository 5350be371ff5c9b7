//! llamascopium (lm-saes): SAEs and transcoders whose latents may be ranked by pre-activation times decoder norm.

use serde::Deserialize;
use serde_json::Number;
use tch::{Device, Kind, Tensor};

use super::{ConfigFile, Files, Format, Opened, WeightFiles};
use crate::config::{Architecture, Ranking, Role, SaeConfig, Skip};
use crate::error::SaeError;
use crate::normalisation::Normalisation;
use crate::tensor_files::Taker;
use crate::tensors::{ArchitectureTensors, SaeTensors};

pub(super) const FORMAT: Format = Format {
    name: "llamascopium",
    weights: WeightFiles::named("sae_weights.safetensors"),
    config: ConfigFile::Named("config.json"),
    open,
    take,
};

/// Fields of `config.json` that affect the forward pass. The others concern training and initialisation.
#[derive(Deserialize)]
struct Fields {
    sae_type: Option<String>,
    d_model: u64,
    d_sae: Option<u64>,
    expansion_factor: Option<f64>,
    act_fn: String,
    norm_activation: Option<String>,
    #[serde(default)]
    sparsity_include_decoder_norm: bool,
    #[serde(default)]
    apply_decoder_bias_to_pre_encoder: bool,
    #[serde(default)]
    use_glu_encoder: bool,
    top_k: Option<Number>,
    hook_point_in: Option<String>,
    hook_point_out: Option<String>,
    model_name: Option<String>,
}

fn open(files: &Files) -> Result<Opened, SaeError> {
    let source = files.source();
    let (fields, raw_config): (Fields, _) = files.fields()?;
    let kind = fields.sae_type.as_deref().unwrap_or("sae");
    if kind != "sae" {
        return Err(source.field("sae_type", "sae", format!("{kind}: it reads or writes more than one site")));
    }
    for (field, value, expected) in [
        ("use_glu_encoder", fields.use_glu_encoder, false),
        ("apply_decoder_bias_to_pre_encoder", fields.apply_decoder_bias_to_pre_encoder, false),
    ] {
        if value != expected {
            return Err(source.field(field, expected, value));
        }
    }
    let normalisation = match fields.norm_activation.as_deref() {
        // The scale is already folded into the weights, or `take` folds it.
        Some("inference" | "dataset-wise") | None => Normalisation::None,
        Some("token-wise") => Normalisation::ConstantNormRescale,
        Some(other) => return Err(source.field("norm_activation", "inference, dataset-wise or token-wise", other)),
    };
    let d_in = source.size("d_model", fields.d_model)?;
    let named = fields.d_sae.or(fields.expansion_factor.map(|factor| (d_in as f64 * factor) as u64));
    let d_sae =
        source.size("d_sae", named.ok_or_else(|| source.field("d_sae", "it, or expansion_factor", "neither"))?)?;
    let ranking = if fields.sparsity_include_decoder_norm { Ranking::DecoderNorm } else { Ranking::PreActivation };
    let architecture = match fields.act_fn.to_lowercase().as_str() {
        "relu" => Architecture::Standard,
        "jumprelu" => Architecture::JumpRelu,
        "topk" => Architecture::TopK { k: source.whole_k(fields.top_k.as_ref(), d_sae)?, ranking },
        other => return Err(source.field("act_fn", "relu, jumprelu or topk", other)),
    };
    let output_site = fields.hook_point_out.filter(|out| Some(out) != fields.hook_point_in.as_ref());
    let role = if output_site.is_some() { Role::Transcoder(Skip::None) } else { Role::Autoencoder };
    if role != Role::Autoencoder && normalisation == Normalisation::ConstantNormRescale {
        let expected = "inference or dataset-wise in a transcoder, whose output has another norm";
        return Err(source.field("norm_activation", expected, "token-wise"));
    }
    let config = SaeConfig {
        role,
        normalisation,
        site: fields.hook_point_in,
        output_site,
        model_name: fields.model_name,
        ..SaeConfig::new(architecture, d_in, d_sae)
    };
    Ok(Opened { config, raw_config, weights: files.weights()? })
}

/// Prefix of the tensors that hold a site's average activation norm. `dataset-wise` scales activations from that norm to
/// sqrt(d).
const AVERAGE_NORM: &str = "dataset_average_activation_norm.";

fn take(opened: &Opened, taker: &mut Taker<'_>) -> Result<SaeTensors, SaeError> {
    let Opened { config, raw_config, weights } = opened;
    let (d_in, d_out, d_sae) = (config.d_in, config.d_out, config.d_sae);
    let ranks = raw_config["sparsity_include_decoder_norm"].as_bool() == Some(true);
    let has_bias = raw_config["use_decoder_bias"].as_bool() != Some(false);
    let [scale_in, scale_out] = scales(opened, taker)?;
    // If the scale is already folded in, the norms are leftovers of training.
    let norms: Vec<&str> = weights.names().filter(|name| name.starts_with(AVERAGE_NORM)).collect();
    taker.pass_over(&norms);
    // The previous release uses Llama Scope's tensor names.
    let older = weights.has("encoder.weight");
    let (encoder, decoder) = if older {
        (taker.turned("encoder.weight", [d_sae, d_in])?, taker.turned("decoder.weight", [d_out, d_sae])?)
    } else {
        (taker.tensor("W_E", &[d_in, d_sae])?, taker.tensor("W_D", &[d_sae, d_out])?)
    };
    let bias = taker.tensor(if older { "encoder.bias" } else { "b_E" }, &[d_sae])?;
    let decoder_bias = if has_bias {
        taker.tensor(if older { "decoder.bias" } else { "b_D" }, &[d_out])?
    } else {
        Tensor::f_zeros([d_out as i64], (Kind::Float, Device::Cpu))?
    };
    let threshold = if older { "log_jumprelu_threshold" } else { "activation_function.log_jumprelu_threshold" };
    Ok(SaeTensors {
        encoder: encoder.f_mul_scalar(scale_in)?,
        decoder: decoder.f_div_scalar(scale_out)?,
        decoder_bias: decoder_bias.f_div_scalar(scale_out)?,
        skip: None,
        input_bias: config.input_bias,
        normalisation: config.normalisation,
        own: match config.architecture {
            Architecture::TopK { k, ranking } => ArchitectureTensors::TopK { bias, k, ranking },
            Architecture::JumpRelu => ArchitectureTensors::JumpRelu {
                bias,
                threshold: taker.tensor(threshold, &[d_sae])?.f_exp()?,
                ranking: if ranks { Ranking::DecoderNorm } else { Ranking::PreActivation },
            },
            _ => ArchitectureTensors::Standard { bias },
        },
    })
}

/// Returns the factors that were applied to the input before the encoder and to the target output.
fn scales(opened: &Opened, taker: &mut Taker<'_>) -> Result<[f64; 2], SaeError> {
    let Opened { config, raw_config, .. } = opened;
    if raw_config["norm_activation"].as_str() != Some("dataset-wise") {
        return Ok([1.0, 1.0]);
    }
    let mut scale = |site: Option<&String>, width: usize| {
        let name = format!("{AVERAGE_NORM}{}", site.map_or("", String::as_str));
        match taker.number(&name)? {
            Some(norm) if norm > 0.0 => Ok((width as f64).sqrt() / norm),
            _ => Err(taker.absent(&name)),
        }
    };
    let scale_in = scale(config.site.as_ref(), config.d_in)?;
    match &config.output_site {
        Some(output) => Ok([scale_in, scale(Some(output), config.d_out)?]),
        None => Ok([scale_in, scale_in]),
    }
}
