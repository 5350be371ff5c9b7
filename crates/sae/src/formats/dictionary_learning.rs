//! `dictionary_learning`: `ae.pt` holds the state dict of a dictionary class, and `config.json` names the class.

use serde::Deserialize;
use serde_json::Number;

use super::{Files, Format, Opened};
use crate::config::{Architecture, Conventions, InputBias, Ranking, SaeConfig, WithoutTokens};
use crate::error::SaeError;
use crate::tensor_files::Taker;
use crate::tensors::{ArchitectureTensors, SaeTensors};

pub(super) const FORMAT: Format = Format {
    name: "dictionary-learning",
    weights_file: "ae.pt",
    config_file: Some("config.json"),
    is_whole: |_, _| false,
    open,
    take,
};

#[derive(Deserialize)]
struct Fields {
    trainer: Trainer,
    #[serde(default)]
    buffer: Buffer,
}

/// How the activations were produced. `ctx_len` is the maximum context length. `remove_bos` excludes BOS from training,
/// though it stays in the context.
#[derive(Default, Deserialize)]
struct Buffer {
    ctx_len: Option<u64>,
    remove_bos: Option<bool>,
    add_special_tokens: Option<bool>,
}

/// Fields of the trainer's configuration that affect the forward pass. The others concern training only.
#[derive(Deserialize)]
struct Trainer {
    dict_class: String,
    activation_dim: u64,
    dict_size: u64,
    k: Option<Number>,
    layer: Option<u64>,
    lm_name: Option<String>,
    submodule_name: Option<String>,
}

/// The dictionary classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    AutoEncoder,
    AutoEncoderNew,
    Gated,
    TopK,
    BatchTopK,
    MatryoshkaBatchTopK,
    JumpRelu,
}

impl Class {
    const ALL: [(Self, &'static str); 7] = [
        (Self::AutoEncoder, "AutoEncoder"),
        (Self::AutoEncoderNew, "AutoEncoderNew"),
        (Self::Gated, "GatedAutoEncoder"),
        (Self::TopK, "AutoEncoderTopK"),
        (Self::BatchTopK, "BatchTopKSAE"),
        (Self::MatryoshkaBatchTopK, "MatryoshkaBatchTopKSAE"),
        (Self::JumpRelu, "JumpReluAutoEncoder"),
    ];

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known)| *known == name).map(|(class, _)| class)
    }
}

fn open(files: &Files) -> Result<Opened, SaeError> {
    let source = files.source();
    let (Fields { trainer, buffer }, raw_config) = files.fields()?;
    let class = Class::named(&trainer.dict_class).ok_or_else(|| {
        let known = Class::ALL.map(|(_, name)| name).join(", ");
        source.field("trainer.dict_class", known, &trainer.dict_class)
    })?;
    let d_in = source.size("trainer.activation_dim", trainer.activation_dim)?;
    let d_sae = source.size("trainer.dict_size", trainer.dict_size)?;
    let average = trainer.k.as_ref().and_then(Number::as_f64);
    let batch = |name| Architecture::BatchTopK { name, k: average, ranking: Ranking::PreActivation };
    let architecture = match class {
        Class::AutoEncoder | Class::AutoEncoderNew => Architecture::Standard,
        Class::Gated => Architecture::Gated,
        Class::TopK => {
            Architecture::TopK { k: source.whole_k(trainer.k.as_ref(), d_sae)?, ranking: Ranking::PreActivation }
        }
        Class::BatchTopK => batch("batchtopk"),
        Class::MatryoshkaBatchTopK => batch("matryoshka_batchtopk"),
        Class::JumpRelu => Architecture::JumpRelu,
    };
    let subtracts = !matches!(class, Class::AutoEncoderNew | Class::JumpRelu);
    let config = SaeConfig {
        input_bias: if subtracts { InputBias::DecoderBias } else { InputBias::None },
        site: trainer.layer.and_then(|layer| site(layer, trainer.submodule_name.as_deref())),
        model_name: trainer.lm_name,
        conventions: Conventions {
            // Without special tokens there is no BOS. With them, it depends on the tokenizer.
            prepend_bos: buffer.add_special_tokens.filter(|added| !added),
            context_size: buffer.ctx_len,
            without: if buffer.remove_bos == Some(true) { WithoutTokens::Bos } else { WithoutTokens::None },
            ..Conventions::default()
        },
        ..SaeConfig::new(architecture, d_in, d_sae)
    };
    Ok(Opened { config, raw_config, weights: files.weights()? })
}

/// Returns the site of a layer: the layer's output, unless the submodule's name says otherwise. An unknown submodule gives
/// `None`, so the user must name the site.
fn site(layer: u64, submodule: Option<&str>) -> Option<String> {
    let hook = match submodule {
        None => "hook_resid_post",
        Some(name) if name.starts_with("resid_post") => "hook_resid_post",
        Some(name) if name.starts_with("resid_pre") => "hook_resid_pre",
        Some(name) if name.starts_with("mlp_out") => "hook_mlp_out",
        Some(name) if name.starts_with("attn_out") || name.starts_with("attention_out") => "hook_attn_out",
        Some(_) => return None,
    };
    Some(format!("blocks.{layer}.{hook}"))
}

/// Takes the tensors of the class named in the configuration.
fn take(opened: &Opened, taker: &mut Taker<'_>) -> Result<SaeTensors, SaeError> {
    let Opened { config, raw_config, .. } = opened;
    let (d_in, d_sae) = (config.d_in, config.d_sae);
    let class = raw_config["trainer"]["dict_class"].as_str().and_then(Class::named).unwrap_or(Class::AutoEncoder);
    let own_layout = matches!(class, Class::MatryoshkaBatchTopK | Class::JumpRelu);
    let (encoder, decoder) = if own_layout {
        (taker.tensor("W_enc", &[d_in, d_sae])?, taker.tensor("W_dec", &[d_sae, d_in])?)
    } else {
        (taker.turned("encoder.weight", [d_sae, d_in])?, taker.turned("decoder.weight", [d_in, d_sae])?)
    };
    let bias = match class {
        Class::AutoEncoder => "bias",
        Class::AutoEncoderNew => "decoder.bias",
        Class::Gated => "decoder_bias",
        _ => "b_dec",
    };
    let decoder_bias = taker.tensor(bias, &[d_in])?;
    let mut vector = |name: &str| taker.tensor(name, &[d_sae]);
    let own = match class {
        Class::AutoEncoder | Class::AutoEncoderNew => ArchitectureTensors::Standard { bias: vector("encoder.bias")? },
        Class::Gated => ArchitectureTensors::Gated {
            gate_bias: vector("gate_bias")?,
            magnitude_bias: vector("mag_bias")?,
            magnitude_log_scale: vector("r_mag")?,
        },
        Class::JumpRelu => ArchitectureTensors::JumpRelu {
            bias: vector("b_enc")?,
            threshold: vector("threshold")?,
            ranking: Ranking::PreActivation,
        },
        Class::TopK => {
            let Architecture::TopK { k, ranking } = config.architecture else { return Err(taker.contradiction("k")) };
            let bias = taker.tensor("encoder.bias", &[d_sae])?;
            taker.check_number("k", k as f64)?;
            // The class's forward pass takes the k largest latents of each row and ignores the threshold.
            taker.number("threshold")?;
            ArchitectureTensors::TopK { bias, k, ranking }
        }
        Class::BatchTopK | Class::MatryoshkaBatchTopK => {
            let bias = vector(if own_layout { "b_enc" } else { "encoder.bias" })?;
            let Architecture::BatchTopK { k, ranking, .. } = config.architecture else {
                return Err(taker.contradiction("k"));
            };
            if let Some(k) = k {
                taker.check_number("k", k)?;
            }
            taker.pass_over(&["k", "group_sizes"]);
            ArchitectureTensors::BatchTopK { bias, threshold: taker.tensor("threshold", &[])?, k, ranking }
        }
    };
    Ok(SaeTensors {
        encoder,
        decoder,
        decoder_bias,
        skip: None,
        input_bias: config.input_bias,
        normalisation: config.normalisation,
        own,
    })
}
