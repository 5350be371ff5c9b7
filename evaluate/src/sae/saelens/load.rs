//! From SAELens's tensors to the one form in memory.

use tch::{Device, Kind, TchError, Tensor};

use super::config::{Architecture, InputBias, Ranking, SaeConfig};
use crate::sae::weights::{Taker, WeightFile};
use crate::sae::{Activation, Sae, SaeError};

/// SAELens divides by no decoder norm smaller than this.
const SMALLEST_NORM: f64 = 1e-8;

/// How far a `scaling_factor` may be from one: `torch.allclose`'s tolerance.
const ONES_TOLERANCE: f64 = 1e-5;

pub(super) fn load(config: &SaeConfig, file: &WeightFile, device: Device) -> Result<Sae, SaeError> {
    let (d_in, d_sae) = (config.d_in, config.d_sae);
    let mut taker = file.take();
    let encoder = taker.tensor("W_enc", &[d_in, d_sae])?;
    let decoder = taker.tensor("W_dec", &[d_sae, d_in])?;
    let decoder_bias = taker.tensor("b_dec", &[d_in])?;
    let (encoder_bias, activation) = activation(config, &mut taker)?;
    check_scaling_factor(config, file, &mut taker)?;
    taker.finish(config.architecture.as_str())?;
    let (encoder, encoder_bias, decoder) = match config.architecture.ranking() {
        Ranking::PreActivation => (encoder, encoder_bias, decoder),
        Ranking::DecoderNorm => fold_decoder_norms(&encoder, &encoder_bias, &decoder)?,
    };
    let move_to_device = |tensor: &Tensor| tensor.f_to_device(device);
    let decoder_bias = move_to_device(&decoder_bias)?;
    Ok(Sae {
        encoder: move_to_device(&encoder)?,
        encoder_bias: move_to_device(&encoder_bias)?,
        decoder: move_to_device(&decoder)?,
        input_bias: match config.input_bias {
            InputBias::DecoderBias => Some(decoder_bias.shallow_clone()),
            InputBias::None => None,
        },
        decoder_bias,
        activation: activation.to_device(device)?,
        normalisation: config.normalisation,
    })
}

impl Architecture {
    fn ranking(self) -> Ranking {
        match self {
            Self::TopK { ranking, .. } | Self::BatchTopK { ranking, .. } => ranking,
            Self::Standard | Self::JumpRelu | Self::Gated => Ranking::PreActivation,
        }
    }
}

impl Activation {
    fn to_device(&self, device: Device) -> Result<Self, TchError> {
        Ok(match self {
            Self::Relu => Self::Relu,
            Self::JumpRelu { threshold } => Self::JumpRelu { threshold: threshold.f_to_device(device)? },
            Self::TopK { k } => Self::TopK { k: *k },
            Self::Gated { scale, bias } => {
                Self::Gated { scale: scale.f_to_device(device)?, bias: bias.f_to_device(device)? }
            }
        })
    }
}

/// The encoder's bias `[width]` and the activation.
fn activation(config: &SaeConfig, taker: &mut Taker<'_>) -> Result<(Tensor, Activation), SaeError> {
    let width = [config.d_sae];
    match config.architecture {
        Architecture::Standard => Ok((taker.tensor("b_enc", &width)?, Activation::Relu)),
        Architecture::TopK { k, .. } => Ok((taker.tensor("b_enc", &width)?, Activation::TopK { k })),
        Architecture::JumpRelu => {
            let bias = taker.tensor("b_enc", &width)?;
            let threshold = match taker.optional("log_threshold", &width)? {
                Some(logarithm) => logarithm.f_exp()?,
                None => taker.tensor("threshold", &width)?,
            };
            Ok((bias, Activation::JumpRelu { threshold }))
        }
        Architecture::Gated => {
            let gate_bias = taker.tensor("b_gate", &width)?;
            let scale = taker.tensor("r_mag", &width)?.f_exp()?;
            let bias = taker.tensor("b_mag", &width)?.f_sub(&gate_bias.f_mul(&scale)?)?;
            Ok((gate_bias, Activation::Gated { scale, bias }))
        }
        Architecture::BatchTopK { .. } => {
            let bias = taker.tensor("b_enc", &width)?;
            // Not a view of one number: the forward pass and the device copy want a plain [width].
            let threshold = taker.tensor("topk_threshold", &[])?.f_repeat([config.d_sae as i64])?;
            Ok((bias, Activation::JumpRelu { threshold }))
        }
    }
}

/// Scales each latent by its decoder row's norm, so that latents compare by their size in the output: encoder and bias
/// are multiplied, decoder rows become unit vectors. Reconstructions stay what they were.
fn fold_decoder_norms(encoder: &Tensor, bias: &Tensor, decoder: &Tensor) -> Result<(Tensor, Tensor, Tensor), TchError> {
    let norms = decoder.f_linalg_norm(2.0, [-1i64].as_slice(), false, Kind::Float)?.f_clamp_min(SMALLEST_NORM)?;
    Ok((encoder.f_mul(&norms)?, bias.f_mul(&norms)?, decoder.f_div(&norms.f_unsqueeze(-1)?)?))
}

/// A leftover of old training runs; ones carry nothing.
fn check_scaling_factor(config: &SaeConfig, file: &WeightFile, taker: &mut Taker<'_>) -> Result<(), SaeError> {
    let Some(factor) = taker.optional("scaling_factor", &[config.d_sae])? else { return Ok(()) };
    let largest = factor.f_sub_scalar(1.0)?.f_abs()?.f_max()?.f_double_value(&[])?;
    if largest <= ONES_TOLERANCE {
        return Ok(());
    }
    Err(SaeError::ScalingFactor { path: file.path().to_path_buf(), largest })
}
