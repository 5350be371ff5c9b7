//! Builds an `Sae` from a file's tensors.

use hayloft_runtime::Dtype;
use tch::{Device, Kind, TchError, Tensor};

use crate::config::{InputBias, Ranking};
use crate::error::SaeError;
use crate::forward::Sae;
use crate::forward::activation::Activation;
use crate::tensors::{ArchitectureTensors, SaeTensors};

/// Lower bound on decoder norms used as divisors, as in SAELens.
const SMALLEST_NORM: f64 = 1e-8;

impl Sae {
    /// Builds an SAE from its tensors on `device`, with the encoder's matrix products in `precision`.
    pub fn new(tensors: SaeTensors, device: Device, precision: Dtype) -> Result<Self, SaeError> {
        let SaeTensors { encoder, decoder, decoder_bias, skip, input_bias, normalisation, own } = tensors;
        let d_sae = decoder.size()[0] as usize;
        let (encoder_bias, activation, ranking) = activation(own, d_sae)?;
        let (encoder, encoder_bias, decoder) = match ranking {
            Ranking::PreActivation => (encoder, encoder_bias, decoder),
            Ranking::DecoderNorm => fold_decoder_norms(&encoder, &encoder_bias, &decoder)?,
        };
        let move_to_device = |tensor: &Tensor| tensor.f_contiguous()?.f_to_device(device);
        let decoder_bias = move_to_device(&decoder_bias)?;
        let sae = Sae {
            encoder: move_to_device(&encoder.f_tr()?)?.into(),
            encoder_bias: move_to_device(&encoder_bias)?.into(),
            decoder: move_to_device(&decoder)?.into(),
            input_bias: match input_bias {
                InputBias::DecoderBias => Some(decoder_bias.shallow_clone().into()),
                InputBias::None => None,
            },
            decoder_bias: decoder_bias.into(),
            skip: skip.map(|skip| move_to_device(&skip)).transpose()?.map(Into::into),
            activation: activation.to_device(device)?,
            normalisation,
            screen: None,
        };
        sae.computing_in(precision)
    }
}

impl Activation {
    fn to_device(&self, device: Device) -> Result<Self, TchError> {
        Ok(match self {
            Self::Relu => Self::Relu,
            Self::JumpRelu { threshold } => Self::JumpRelu { threshold: threshold.f_to_device(device)?.into() },
            Self::TopK { k } => Self::TopK { k: *k },
            Self::Gated { scale, bias } => {
                Self::Gated { scale: scale.f_to_device(device)?.into(), bias: bias.f_to_device(device)?.into() }
            }
        })
    }
}

/// Returns the encoder bias `[width]`, the activation function and the ranking.
fn activation(own: ArchitectureTensors, d_sae: usize) -> Result<(Tensor, Activation, Ranking), TchError> {
    let plain = Ranking::PreActivation;
    Ok(match own {
        ArchitectureTensors::Standard { bias } => (bias, Activation::Relu, plain),
        ArchitectureTensors::TopK { bias, k, ranking } => (bias, Activation::TopK { k }, ranking),
        ArchitectureTensors::JumpRelu { bias, threshold, ranking } => {
            (bias, Activation::JumpRelu { threshold: threshold.into() }, ranking)
        }
        ArchitectureTensors::Gated { gate_bias, magnitude_bias, magnitude_log_scale } => {
            let scale = magnitude_log_scale.f_exp()?;
            let bias = magnitude_bias.f_sub(&gate_bias.f_mul(&scale)?)?;
            (gate_bias, Activation::Gated { scale: scale.into(), bias: bias.into() }, plain)
        }
        ArchitectureTensors::BatchTopK { bias, threshold, ranking, .. } => {
            // Repeat instead of expand: the forward pass and the device copy need a contiguous [width].
            let threshold = threshold.f_repeat([d_sae as i64])?;
            (bias, Activation::JumpRelu { threshold: threshold.into() }, ranking)
        }
    })
}

/// Scales each latent by the norm of its decoder row. Encoder and bias are multiplied by the norms and decoder rows become
/// unit vectors. Reconstructions are unchanged.
pub(crate) fn fold_decoder_norms(
    encoder: &Tensor,
    bias: &Tensor,
    decoder: &Tensor,
) -> Result<(Tensor, Tensor, Tensor), TchError> {
    let norms = decoder.f_linalg_norm(2.0, [-1i64].as_slice(), false, Kind::Float)?.f_clamp_min(SMALLEST_NORM)?;
    Ok((encoder.f_mul(&norms)?, bias.f_mul(&norms)?, decoder.f_div(&norms.f_unsqueeze(-1)?)?))
}
