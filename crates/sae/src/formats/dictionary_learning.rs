//! `dictionary_learning`: `ae.pt` holds the state dict of a dictionary class, and `config.json` names the class. Without it,
//! as in releases of 2023 and 2024, the tensors tell the class, and the user names the site.

use serde::Deserialize;
use serde_json::{Number, json};

use super::source::Source;
use super::{ConfigFile, Files, Format, Opened, WeightFiles};
use crate::config::{Architecture, Conventions, InputBias, Ranking, SaeConfig, WithoutTokens};
use crate::error::SaeError;
use crate::tensor_files::{Taker, TensorFile};
use crate::tensors::{ArchitectureTensors, SaeTensors};

pub(super) const FORMAT: Format = Format {
    name: "dictionary-learning",
    weights: WeightFiles::Named { name: "ae.pt", also: |_, name| name == "ae.pt" },
    config: ConfigFile::Optional("config.json"),
    open,
    take,
};

/// `AutoEncoderTopK`, named where no `config.json` does: its tensors are those of `BatchTopKSAE` too.
pub(super) const TOPK: Format =
    Format { name: "dictionary-learning-topk", open: |files| open_as(files, Class::TopK), ..FORMAT };

/// `BatchTopKSAE`, named where no `config.json` does.
pub(super) const BATCH_TOPK: Format =
    Format { name: "dictionary-learning-batchtopk", open: |files| open_as(files, Class::BatchTopK), ..FORMAT };

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
    /// What of the submodule is reconstructed from what: `out` (the default), `in` or `in_and_out`.
    io: Option<String>,
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

    /// The name in `dictionary_learning`.
    fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(known, _)| *known == self).map_or("", |(_, name)| name)
    }

    /// The class whose state dict has these tensors; `None` if no class or more than one has.
    fn of(weights: &TensorFile) -> Option<Self> {
        let has = |name| weights.has(name);
        let telling = [
            ("r_mag", Self::Gated),
            ("group_sizes", Self::MatryoshkaBatchTopK),
            ("W_enc", Self::JumpRelu),
            ("decoder.bias", Self::AutoEncoderNew),
            ("bias", Self::AutoEncoder),
        ];
        // AutoEncoderTopK and BatchTopKSAE both have k and threshold.
        let is_topk = || has("b_dec") && has("k") && !has("threshold");
        let told = telling.into_iter().find(|(name, _)| has(name)).map(|(_, class)| class);
        told.or_else(|| is_topk().then_some(Self::TopK))
    }

    /// Whether matrices are stored as `W_enc` and `W_dec`.
    fn has_own_layout(self) -> bool {
        matches!(self, Self::MatryoshkaBatchTopK | Self::JumpRelu)
    }
}

/// The class of a dictionary, and its sizes.
struct Shape {
    class: Class,
    d_in: usize,
    d_sae: usize,
}

fn open(files: &Files) -> Result<Opened, SaeError> {
    if !files.has_config() {
        return open_alone(files, None);
    }
    let source = files.source();
    let (Fields { trainer, buffer }, raw_config) = files.fields()?;
    let class = Class::named(&trainer.dict_class).ok_or_else(|| {
        let known = Class::ALL.map(|(_, name)| name).join(", ");
        source.field("trainer.dict_class", known, &trainer.dict_class)
    })?;
    let d_in = source.size("trainer.activation_dim", trainer.activation_dim)?;
    let d_sae = source.size("trainer.dict_size", trainer.dict_size)?;
    let shape = Shape { class, d_in, d_sae };
    let site = match buffer.io.as_deref() {
        None | Some("out") => trainer.layer.and_then(|layer| site(layer, trainer.submodule_name.as_deref())),
        // The input of a submodule is no site that its name says.
        Some("in") => None,
        Some("in_and_out") if files.options.transcoder.is_some() => None,
        Some(io) => {
            let expected = "in or out, or, of a transcoder, --transcode=SITE with the site that it reconstructs";
            return Err(source.field("buffer.io", expected, io));
        }
    };
    let config = SaeConfig {
        site,
        model_name: trainer.lm_name,
        conventions: Conventions {
            // Without special tokens there is no BOS. With them, it depends on the tokenizer.
            prepend_bos: buffer.add_special_tokens.filter(|added| !added),
            context_size: buffer.ctx_len,
            without: if buffer.remove_bos == Some(true) { WithoutTokens::Bos } else { WithoutTokens::None },
            ..Conventions::default()
        },
        ..shape.config(&source, trainer.k.as_ref())?
    };
    Ok(Opened { config, raw_config, weights: files.weights()? })
}

/// Opens an SAE whose class is named on the command line. A `config.json` must name the same.
fn open_as(files: &Files, class: Class) -> Result<Opened, SaeError> {
    if !files.has_config() {
        return open_alone(files, Some(class));
    }
    let opened = open(files)?;
    match opened.raw_config["trainer"]["dict_class"].as_str() {
        Some(said) if said != class.name() => {
            let expected = format!("{}, as --sae-format says", class.name());
            Err(files.source().field("trainer.dict_class", expected, said))
        }
        _ => Ok(opened),
    }
}

/// Takes the sizes from the tensors, and the class unless it is given.
fn open_alone(files: &Files, class: Option<Class>) -> Result<Opened, SaeError> {
    let (source, weights) = (files.source(), files.weights()?);
    let class = class.or_else(|| Class::of(&weights)).ok_or_else(|| {
        let names = weights.names().collect::<Vec<_>>().join(", ");
        let both = ["b_dec", "k", "threshold"].iter().all(|name| weights.has(name));
        let expected = if both {
            "config.json with trainer.dict_class, or --sae-format dictionary-learning-topk (AutoEncoderTopK) or dictionary-learning-batchtopk (BatchTopKSAE), as these tensors are those of more than one class"
        } else {
            "config.json with trainer.dict_class, activation_dim, dict_size and k, as these tensors are those of no known class"
        };
        source.field("config.json", expected, format!("none beside {}: {names}", files.weights_file))
    })?;
    let [d_in, d_sae] = if class.has_own_layout() {
        weights.matrix("W_enc")?
    } else {
        let [d_sae, d_in] = weights.matrix("encoder.weight")?;
        [d_in, d_sae]
    };
    let k = weights.take().number("k")?.and_then(Number::from_f64);
    let name = class.name();
    let mut config = Shape { class, d_in, d_sae }.config(&source, k.as_ref())?;
    config.remarks.push(format!("it has no config.json; its tensors are those of dictionary_learning's {name}"));
    Ok(Opened { config, raw_config: json!({"trainer": {"dict_class": name}}), weights })
}

impl Shape {
    fn config(self, source: &Source<'_>, k: Option<&Number>) -> Result<SaeConfig, SaeError> {
        let Self { class, d_in, d_sae } = self;
        let average = k.and_then(Number::as_f64);
        let batch = |name| Architecture::BatchTopK { name, k: average, ranking: Ranking::PreActivation };
        let architecture = match class {
            Class::AutoEncoder | Class::AutoEncoderNew => Architecture::Standard,
            Class::Gated => Architecture::Gated,
            Class::TopK => Architecture::TopK { k: source.whole_k(k, d_sae)?, ranking: Ranking::PreActivation },
            Class::BatchTopK => batch("batchtopk"),
            Class::MatryoshkaBatchTopK => batch("matryoshka_batchtopk"),
            Class::JumpRelu => Architecture::JumpRelu,
        };
        let subtracts = !matches!(class, Class::AutoEncoderNew | Class::JumpRelu);
        Ok(SaeConfig {
            input_bias: if subtracts { InputBias::DecoderBias } else { InputBias::None },
            ..SaeConfig::new(architecture, d_in, d_sae)
        })
    }
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
    let own_layout = class.has_own_layout();
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
