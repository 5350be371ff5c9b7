//! circuit-tracer: transcoders of the feed-forward part of each block, one file `layer_N.safetensors` a block, and
//! `config.yaml` with their sites. A transcoder whose file has a threshold is a `JumpReLU`, any other a plain one, unless
//! `config.yaml` says `topk`.

use serde_json::{Number, Value, json};

use super::folder::Folder;
use super::source::Source;
use super::{ConfigFile, Files, Format, Opened, WeightFiles, yaml};
use crate::config::{Architecture, Ranking, Role, SaeConfig, Skip};
use crate::error::SaeError;
use crate::tensor_files::Taker;
use crate::tensors::{ArchitectureTensors, SaeTensors};

pub(super) const FORMAT: Format = Format {
    name: "circuit-tracer",
    weights: WeightFiles::Several(is_one),
    config: ConfigFile::Optional("config.yaml"),
    open,
    take,
};

const THRESHOLD: &str = "activation_function.threshold";

fn is_one(_: &Folder<'_>, name: &str) -> bool {
    layer(name).is_some() || is_across_layers(name)
}

/// N of `layer_N.safetensors`.
fn layer(name: &str) -> Option<usize> {
    name.strip_prefix("layer_")?.strip_suffix(".safetensors")?.parse().ok()
}

/// Whether a file is part of a cross-layer transcoder: `W_enc_N.safetensors`, `W_dec_N.safetensors`.
fn is_across_layers(name: &str) -> bool {
    name.ends_with(".safetensors") && (name.starts_with("W_enc_") || name.starts_with("W_dec_"))
}

fn open(files: &Files) -> Result<Opened, SaeError> {
    let source = files.source();
    if is_across_layers(&files.weights_file) {
        let expected = "a transcoder of one layer, layer_N.safetensors";
        let got = format!("{}, part of a cross-layer transcoder", files.weights_file);
        return Err(source.field("model_kind", expected, got));
    }
    let said = if files.has_config() { yaml::scalars(&source, &files.config)? } else { [].into() };
    let field = |name: &str| said.get(name).map(String::as_str);
    if let Some(kind) = field("model_kind").filter(|kind| *kind != "transcoder_set") {
        return Err(source.field("model_kind", "transcoder_set", kind));
    }
    let weights = files.weights()?;
    let [d_sae, d_in] = weights.matrix("W_enc")?;
    let [rows, columns] = weights.matrix("W_dec")?;
    // A decoder that is stored the other way round is refused by its shape.
    let d_out = if columns == d_sae { rows } else { columns };
    let in_file = weights.take().number("k")?.and_then(Number::from_f64);
    let k = field("k").map(|k| number(&source, k)).transpose()?.or(in_file.clone());
    let topk = |k: Option<&Number>| -> Result<Architecture, SaeError> {
        Ok(Architecture::TopK { k: source.whole_k(k, d_sae)?, ranking: Ranking::PreActivation })
    };
    let architecture = match (field("activation"), weights.has(THRESHOLD)) {
        (None | Some("jumprelu" | "jump_relu"), true) => Architecture::JumpRelu,
        (said, false) if said == Some("topk") || (said.is_none() && in_file.is_some()) => topk(k.as_ref())?,
        (None | Some("relu"), false) => Architecture::Standard,
        (Some(other), has_threshold) => {
            let expected = if has_threshold { "none, as the file has a threshold" } else { "relu, or topk and k" };
            return Err(source.field("activation", expected, other));
        }
    };
    let mut remarks = Vec::new();
    if field("feature_input_hook").is_none() || field("feature_output_hook").is_none() {
        remarks.push("no config.yaml says its sites: they are taken to be mlp.hook_in and hook_mlp_out".to_owned());
    }
    let site = |name: &str, usual: &str| {
        layer(&files.weights_file).map(|layer| format!("blocks.{layer}.{}", field(name).unwrap_or(usual)))
    };
    let config = SaeConfig {
        role: Role::Transcoder(if weights.has("W_skip") { Skip::Matrix } else { Skip::None }),
        d_out,
        site: site("feature_input_hook", "mlp.hook_in"),
        output_site: site("feature_output_hook", "hook_mlp_out"),
        model_name: field("model_name").map(str::to_owned),
        remarks,
        ..SaeConfig::new(architecture, d_in, d_sae)
    };
    let raw_config = if files.has_config() { json!(said) } else { Value::Null };
    Ok(Opened { config, raw_config, weights })
}

fn number(source: &Source<'_>, text: &str) -> Result<Number, SaeError> {
    text.parse::<u64>().map(Number::from).map_err(|_| source.field("k", "a whole number", text))
}

fn take(opened: &Opened, taker: &mut Taker<'_>) -> Result<SaeTensors, SaeError> {
    let config = &opened.config;
    let (d_in, d_out, d_sae) = (config.d_in, config.d_out, config.d_sae);
    let encoder = taker.turned("W_enc", [d_sae, d_in])?;
    let bias = taker.tensor("b_enc", &[d_sae])?;
    Ok(SaeTensors {
        encoder,
        decoder: taker.tensor("W_dec", &[d_sae, d_out])?,
        decoder_bias: taker.tensor("b_dec", &[d_out])?,
        skip: taker.optional("W_skip", &[d_out, d_in])?,
        input_bias: config.input_bias,
        normalisation: config.normalisation,
        own: match config.architecture {
            Architecture::TopK { k, ranking } => {
                taker.check_number("k", k as f64)?;
                ArchitectureTensors::TopK { bias, k, ranking }
            }
            Architecture::JumpRelu => ArchitectureTensors::JumpRelu {
                bias,
                threshold: taker.tensor(THRESHOLD, &[d_sae])?,
                ranking: Ranking::PreActivation,
            },
            _ => ArchitectureTensors::Standard { bias },
        },
    })
}
