//! Llama Scope: one `JumpReLU` threshold for all latents, on activations scaled to an average norm. Loading folds the scale
//! into the weights.

use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use super::source::Source;
use super::{ConfigFile, Files, Format, Opened, WeightFiles};
use crate::config::{Architecture, Conventions, Ranking, Role, SaeConfig, Skip};
use crate::error::SaeError;
use crate::tensor_files::Taker;
use crate::tensors::{ArchitectureTensors, SaeTensors};

pub(super) const FORMAT: Format = Format {
    name: "llama-scope",
    weights: WeightFiles::named("checkpoints/final.safetensors"),
    config: ConfigFile::Named("hyperparams.json"),
    open,
    take,
};

/// Fields of `hyperparams.json`. The others concern training only.
#[derive(Deserialize)]
struct Fields {
    d_model: u64,
    d_sae: u64,
    hook_point_in: String,
    hook_point_out: Option<String>,
    act_fn: Option<String>,
    jump_relu_threshold: f64,
    dataset_average_activation_norm: Norms,
    norm_activation: Option<String>,
    sparsity_include_decoder_norm: Option<bool>,
    use_decoder_bias: Option<bool>,
    apply_decoder_bias_to_pre_encoder: Option<bool>,
}

/// Average norms of the SAE's input and output.
#[derive(Deserialize)]
struct Norms {
    r#in: f64,
    out: Option<f64>,
}

fn open(files: &Files) -> Result<Opened, SaeError> {
    let source = files.source();
    let (fields, raw_config): (Fields, _) = files.fields()?;
    fields.check(&source)?;
    let d_in = source.size("d_model", fields.d_model)?;
    let output_site = fields.hook_point_out.filter(|out| *out != fields.hook_point_in);
    let config = SaeConfig {
        role: if output_site.is_some() { Role::Transcoder(Skip::None) } else { Role::Autoencoder },
        site: Some(fields.hook_point_in),
        output_site,
        model_name: Some("meta-llama/Llama-3.1-8B".to_owned()),
        conventions: Conventions { prepend_bos: Some(true), ..Conventions::default() },
        ..SaeConfig::new(Architecture::JumpRelu, d_in, source.size("d_sae", fields.d_sae)?)
    };
    Ok(Opened { config, raw_config, weights: files.weights()? })
}

impl Fields {
    /// Rejects unsupported values of fields that affect the forward pass.
    fn check(&self, source: &Source<'_>) -> Result<(), SaeError> {
        let positive = |field: &str, value: f64| {
            let sound = value.is_finite() && value > 0.0;
            if sound { Ok(()) } else { Err(source.field(field, "a number above zero", value)) }
        };
        positive("dataset_average_activation_norm.in", self.dataset_average_activation_norm.r#in)?;
        positive("dataset_average_activation_norm.out", self.dataset_average_activation_norm.out.unwrap_or(1.0))?;
        if !self.jump_relu_threshold.is_finite() || self.jump_relu_threshold < 0.0 {
            return Err(source.field("jump_relu_threshold", "a number of at least zero", self.jump_relu_threshold));
        }
        let act_fn = self.act_fn.as_deref().unwrap_or("jumprelu");
        if !matches!(act_fn.to_lowercase().as_str(), "jumprelu" | "topk") {
            return Err(source.field("act_fn", "jumprelu, or topk with the threshold that replaces it", act_fn));
        }
        let norm = self.norm_activation.as_deref().unwrap_or("dataset-wise");
        if norm != "dataset-wise" {
            return Err(source.field("norm_activation", "dataset-wise", norm));
        }
        for (field, value, expected) in [
            ("sparsity_include_decoder_norm", self.sparsity_include_decoder_norm, None),
            ("use_decoder_bias", self.use_decoder_bias, Some(true)),
            ("apply_decoder_bias_to_pre_encoder", self.apply_decoder_bias_to_pre_encoder, Some(false)),
        ] {
            if let (Some(value), Some(expected)) = (value, expected)
                && value != expected
            {
                return Err(source.field(field, expected, value));
            }
        }
        Ok(())
    }
}

/// Takes the tensors and folds in the scales. The encoder was trained on x · s with s = sqrt(d) / average norm. So encoder
/// and threshold are multiplied by s, and decoder and decoder bias are divided by the output's s.
fn take(opened: &Opened, taker: &mut Taker<'_>) -> Result<SaeTensors, SaeError> {
    let Opened { config, raw_config, .. } = opened;
    let (d_in, d_out, d_sae) = (config.d_in, config.d_out, config.d_sae);
    let norm = |side: &str| raw_config["dataset_average_activation_norm"][side].as_f64();
    let scale_in = (d_in as f64).sqrt() / norm("in").unwrap_or(f64::NAN);
    let scale_out =
        norm("out").filter(|_| config.output_site.is_some()).map_or(scale_in, |out| (d_out as f64).sqrt() / out);
    let threshold = raw_config["jump_relu_threshold"].as_f64().unwrap_or(f64::NAN) * scale_in;
    let encoder = taker.turned("encoder.weight", [d_sae, d_in])?.f_mul_scalar(scale_in)?;
    let decoder = taker.turned("decoder.weight", [d_out, d_sae])?.f_div_scalar(scale_out)?;
    Ok(SaeTensors {
        encoder,
        decoder,
        decoder_bias: taker.tensor("decoder.bias", &[d_out])?.f_div_scalar(scale_out)?,
        skip: None,
        input_bias: config.input_bias,
        normalisation: config.normalisation,
        own: ArchitectureTensors::JumpRelu {
            bias: taker.tensor("encoder.bias", &[d_sae])?,
            threshold: Tensor::f_full([d_sae as i64], threshold, (Kind::Float, Device::Cpu))?,
            ranking: Ranking::PreActivation,
        },
    })
}
