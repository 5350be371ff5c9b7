//! Gemma Scope and Gemma Scope 2: `JumpReLU` SAEs and transcoders that do not subtract the decoder bias.
//!
//! Gemma Scope has no configuration file. Sizes come from the arrays and the site comes from the published path, such as
//! `gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71`. Gemma Scope 2 has a `config.json`; without it the published path,
//! such as `gemma-scope-2-4b-pt/resid_post/layer_17_width_16k_l0_big`, says the same.

use serde::Deserialize;
use serde_json::Value;
use tch::Tensor;

use super::{ConfigFile, Files, Format, Opened, WeightFiles};
use crate::config::{Architecture, Conventions, Ranking, Role, SaeConfig, Skip};
use crate::error::SaeError;
use crate::tensor_files::{Taker, TensorFile};
use crate::tensors::{ArchitectureTensors, SaeTensors};

pub(super) const FORMAT: Format = Format {
    name: "gemma-scope",
    weights: WeightFiles::Named {
        name: "params.npz",
        also: |_, name| name.rsplit_once('.').is_some_and(|(_, ending)| ending == "npz"),
    },
    config: ConfigFile::None,
    open,
    take: take_1,
};

pub(super) const FORMAT_2: Format = Format {
    name: "gemma-scope-2",
    weights: WeightFiles::named("params.safetensors"),
    config: ConfigFile::Optional("config.json"),
    open: open_2,
    take,
};

/// What is told of an SAE of embeddings.
const EMBEDDINGS: &str = "it is of token embeddings before they are multiplied by sqrt(d_model); encoder, decoder and decoder bias are scaled to blocks.0.hook_resid_pre, which follows (SAELens leaves the decoder bias as it is)";

/// Fields of Gemma Scope 2's `config.json`. The others concern training only.
#[derive(Deserialize)]
struct Fields {
    architecture: String,
    model_name: Option<String>,
    hf_hook_point_in: String,
    hf_hook_point_out: Option<String>,
    #[serde(default)]
    affine_connection: bool,
}

/// Returns `name` in the case that the file uses for its names.
fn named(file: &TensorFile, name: &str) -> String {
    let lower = file.names().all(|name| name.to_lowercase() == name);
    if lower { name.to_lowercase() } else { name.to_owned() }
}

/// Derives the configuration from the arrays and the path.
fn open(files: &Files) -> Result<Opened, SaeError> {
    let weights = files.weights()?;
    let path = Published::of(files.folder_names());
    let (site, output_site) = path.sites();
    let mut config = config(&weights, site, output_site, Skip::None, path.model_name())?;
    if path.is_of_embeddings() {
        config.remarks.push(EMBEDDINGS.to_owned());
    }
    Ok(Opened { config, raw_config: Value::Null, weights })
}

/// Derives the configuration from `config.json` and the path, or from the path alone.
fn open_2(files: &Files) -> Result<Opened, SaeError> {
    let (source, weights) = (files.source(), files.weights()?);
    let path = Published::of(files.folder_names());
    let (fields, raw_config): (Fields, _) = if files.has_config() {
        files.fields()?
    } else {
        let expected = "config.json, or a path as it is published, such as gemma-scope-2-4b-pt/resid_post/layer_17_width_16k_l0_big";
        let fields = path.fields().ok_or_else(|| source.field("config.json", expected, "neither"))?;
        (fields, Value::Null)
    };
    if fields.architecture != "jump_relu" {
        return Err(source.field("architecture", "jump_relu", fields.architecture));
    }
    if weights.names().any(|name| name.contains("clt")) || path.words.iter().any(|word| word == "clt") {
        return Err(source.field("architecture", "an SAE or a transcoder of one layer", "a cross-layer transcoder"));
    }
    let site = |hook: &str, field: &str| {
        hook_of(hook).ok_or_else(|| source.field(field, "a module's output or input that is a site here", hook))
    };
    let input = site(&fields.hf_hook_point_in, "hf_hook_point_in")?;
    let output = fields.hf_hook_point_out.as_deref().filter(|out| *out != fields.hf_hook_point_in);
    let output = output.map(|hook| site(hook, "hf_hook_point_out")).transpose()?;
    let skip = if fields.affine_connection { Skip::Matrix } else { Skip::None };
    let model = fields.model_name.map(|name| name.replace("gemma-v3", "gemma-3"));
    let config = config(&weights, Some(input), output, skip, model)?;
    Ok(Opened { config, raw_config, weights })
}

/// Returns the site of the input or output of a Gemma 3 module in transformers.
fn hook_of(hook: &str) -> Option<String> {
    let (layer, place) = hook.strip_prefix("model.layers.")?.split_once('.')?;
    let layer: usize = layer.parse().ok()?;
    let hook = match place {
        "output" => "hook_resid_post",
        "self_attn.o_proj.input" => "attn.hook_z",
        "post_attention_layernorm.output" => "hook_attn_out",
        "pre_feedforward_layernorm.output" | "mlp.input" => "mlp.hook_in",
        "post_feedforward_layernorm.output" => "hook_mlp_out",
        _ => return None,
    };
    Some(format!("blocks.{layer}.{hook}"))
}

fn config(
    file: &TensorFile,
    site: Option<String>,
    output_site: Option<String>,
    skip: Skip,
    model_name: Option<String>,
) -> Result<SaeConfig, SaeError> {
    let [d_in, d_sae] = file.matrix(&named(file, "W_enc"))?;
    // The encoder gives the width of an autoencoder. A transcoder's output width comes from its decoder, in either
    // orientation.
    let d_out = match (&output_site, file.matrix(&named(file, "W_dec"))?) {
        (None, _) => d_in,
        (Some(_), [rows, columns]) => {
            if rows == d_sae {
                columns
            } else {
                rows
            }
        }
    };
    Ok(SaeConfig {
        role: if output_site.is_some() { Role::Transcoder(skip) } else { Role::Autoencoder },
        d_out,
        site,
        output_site,
        model_name,
        conventions: Conventions { prepend_bos: Some(true), ..Conventions::default() },
        ..SaeConfig::new(Architecture::JumpRelu, d_in, d_sae)
    })
}

/// Takes the tensors of Gemma Scope. SAEs of embeddings were trained on embeddings that are not yet multiplied by
/// `sqrt(d_model)`: the factor is folded into the weights.
fn take_1(opened: &Opened, taker: &mut Taker<'_>) -> Result<SaeTensors, SaeError> {
    let mut tensors = take(opened, taker)?;
    if opened.config.remarks.iter().any(|remark| remark == EMBEDDINGS) {
        let factor = (opened.config.d_in as f64).sqrt();
        tensors.encoder = tensors.encoder.f_div_scalar(factor)?;
        tensors.decoder = tensors.decoder.f_mul_scalar(factor)?;
        tensors.decoder_bias = tensors.decoder_bias.f_mul_scalar(factor)?;
    }
    Ok(tensors)
}

/// Takes the tensors.
fn take(opened: &Opened, taker: &mut Taker<'_>) -> Result<SaeTensors, SaeError> {
    let Opened { config, weights, .. } = opened;
    let (d_in, d_out, d_sae) = (config.d_in, config.d_out, config.d_sae);
    let mut tensor = |name: &str, shape: &[usize]| taker.tensor(&named(weights, name), shape);
    Ok(SaeTensors {
        encoder: tensor("W_enc", &[d_in, d_sae])?,
        decoder: tensor("W_dec", &[d_sae, d_out])?,
        decoder_bias: tensor("b_dec", &[d_out])?,
        skip: match config.role {
            Role::Transcoder(Skip::Matrix) => Some(
                tensor("affine_skip_connection", &[d_in, d_out])?
                    .f_tr()
                    .and_then(|skip: Tensor| skip.f_contiguous())?,
            ),
            _ => None,
        },
        input_bias: config.input_bias,
        normalisation: config.normalisation,
        own: ArchitectureTensors::JumpRelu {
            bias: tensor("b_enc", &[d_sae])?,
            threshold: tensor("threshold", &[d_sae])?,
            ranking: Ranking::PreActivation,
        },
    })
}

/// Number of folders between an SAE of Gemma Scope and its repository: `embedding/width_4k/average_l0_6`.
const FOLDERS_OF_AN_SAE: usize = 3;

/// The path that the files are published under.
struct Published {
    /// Words of the folder names, from the SAE's folder upwards.
    words: Vec<String>,
    folders: Vec<String>,
}

impl Published {
    fn of(folders: Vec<String>) -> Self {
        let words = folders.iter().flat_map(|name| name.split(['-', '_'])).map(str::to_owned).collect();
        Self { words, folders }
    }

    /// The repository name, such as `gemma-scope-2b-pt-res`, without the prefix that the Hub's cache adds.
    fn repository(&self) -> Option<&str> {
        let found = self.folders.iter().find_map(|name| Some(&name[name.find("gemma-scope-")?..]));
        found.filter(|name| !name.starts_with("gemma-scope-2-"))
    }

    fn layer(&self) -> Option<usize> {
        let number = |name: &str| name.strip_prefix("layer_")?.split('_').next()?.parse().ok();
        self.folders.iter().find_map(|name| number(name))
    }

    /// Whether the SAE is of the token embeddings, in a folder `embedding/` in place of `layer_N/`.
    fn is_of_embeddings(&self) -> bool {
        self.folders.iter().take(FOLDERS_OF_AN_SAE).any(|name| name == "embedding")
    }

    /// What `config.json` of Gemma Scope 2 says, told from the path.
    fn fields(&self) -> Option<Fields> {
        let layer = self.layer()?;
        let kind = self.folders.get(1)?.trim_end_matches("_all");
        let (input, output) = match kind {
            "resid_post" => ("output", None),
            "attn_out" => ("self_attn.o_proj.input", None),
            "mlp_out" => ("post_feedforward_layernorm.output", None),
            "transcoder" => ("pre_feedforward_layernorm.output", Some("post_feedforward_layernorm.output")),
            _ => return None,
        };
        let hook = |place: &str| format!("model.layers.{layer}.{place}");
        let repository = self.folders.iter().find_map(|name| Some(&name[name.find("gemma-scope-2-")?..]));
        Some(Fields {
            architecture: "jump_relu".to_owned(),
            model_name: repository.map(|name| format!("google/{}", name.replace("gemma-scope-2-", "gemma-3-"))),
            hf_hook_point_in: hook(input),
            hf_hook_point_out: output.map(hook),
            affine_connection: self.folders.first()?.ends_with("_affine"),
        })
    }

    /// The input site, and the output site if it differs.
    fn sites(&self) -> (Option<String>, Option<String>) {
        let (Some(repository), layer) = (self.repository(), self.layer()) else { return (None, None) };
        if layer.is_none() && self.is_of_embeddings() {
            // The residual stream of Gemma 2 begins with the embeddings times sqrt(d_model), and nothing else.
            return (Some("blocks.0.hook_resid_pre".to_owned()), None);
        }
        let Some(layer) = layer else { return (None, None) };
        let site = |hook: &str| Some(format!("blocks.{layer}.{hook}"));
        match repository.rsplit('-').next() {
            Some("res") => (site("hook_resid_post"), None),
            Some("mlp") => (site("hook_mlp_out"), None),
            Some("att") => (site("attn.hook_z"), None),
            Some("transcoders") => (site("mlp.hook_in"), site("hook_mlp_out")),
            _ => (None, None),
        }
    }

    /// The model's name: `gemma-2-2b` for `gemma-scope-2b-pt-res`, the instruction-tuned model for `-it-`.
    fn model_name(&self) -> Option<String> {
        let rest = self.repository()?.strip_prefix("gemma-scope-")?;
        let (size, rest) = rest.split_once('-')?;
        let tuned = if rest.starts_with("it-") { "-it" } else { "" };
        Some(format!("gemma-2-{size}{tuned}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(path: &str) -> Published {
        Published::of(path.split('/').rev().map(str::to_owned).collect())
    }

    #[test]
    fn the_path_says_the_site_and_the_model() {
        let sites = |path: &str| published(path).sites();
        let layer = "layer_20/width_16k/average_l0_71";
        let one = |hook: &str| (Some(format!("blocks.20.{hook}")), None);
        assert_eq!(sites(&format!("/x/gemma-scope-2b-pt-res/{layer}")), one("hook_resid_post"));
        assert_eq!(sites(&format!("/x/gemma-scope-9b-pt-mlp/{layer}")), one("hook_mlp_out"));
        assert_eq!(sites(&format!("/h/models--google--gemma-scope-2b-pt-att/snapshots/0/{layer}")), one("attn.hook_z"));
        let both = (Some("blocks.20.mlp.hook_in".to_owned()), Some("blocks.20.hook_mlp_out".to_owned()));
        assert_eq!(sites(&format!("/x/gemma-scope-2b-pt-transcoders/{layer}")), both);
        assert_eq!(sites(&format!("/x/{layer}")), (None, None));
        assert_eq!(published("/x/gemma-scope-9b-it-res/layer_1").model_name().unwrap(), "gemma-2-9b-it");
        assert_eq!(published("/x/gemma-scope-2b-pt-res/layer_1").model_name().unwrap(), "gemma-2-2b");
    }

    #[test]
    fn modules_of_transformers_are_sites() {
        assert_eq!(hook_of("model.layers.12.output").unwrap(), "blocks.12.hook_resid_post");
        assert_eq!(hook_of("model.layers.3.self_attn.o_proj.input").unwrap(), "blocks.3.attn.hook_z");
        assert!(hook_of("model.layers.3.self_attn.q_proj.output").is_none());
        assert!(hook_of("model.embed_tokens.output").is_none());
    }
}
