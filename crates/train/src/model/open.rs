//! Builds models from random weights or from a loaded SAE.

use hayloft_rows::stream::{Generator, Purpose};
use hayloft_sae::{ArchitectureTensors, InputBias, Normalisation, Ranking, SaeTensors};
use tch::{Device, Kind, TchError, Tensor};

use super::batch_topk::BatchTopK;
use super::gated::Gated;
use super::jumprelu::JumpRelu;
use super::standard::Standard;
use super::topk::{Ranked, TopK};
use super::{Body, Model};
use crate::settings::architecture::{Architecture, Penalty};

/// Initial norm of decoder rows: Anthropic's heuristic of April 2024, SAELens's `decoder_init_norm`.
pub(crate) const FRESH_DECODER_NORM: f64 = 0.1;

/// Parameters of the straight-through estimators of a `JumpReLU`.
#[derive(Debug, Clone, Copy)]
struct Estimates {
    bandwidth: f64,
    penalty: Penalty,
}

/// Builds a model with random decoder rows of norm [`FRESH_DECODER_NORM`], the transposed decoder as encoder, and zero
/// biases, as in SAELens.
pub(crate) fn fresh(
    architecture: &Architecture,
    (d_model, width): (usize, usize),
    input_bias: InputBias,
    seed: u64,
    device: Device,
) -> Result<Box<dyn Model>, TchError> {
    let mut generator = Generator::new(seed, Purpose::Weights, 0);
    let drawn: Vec<f32> = (0..d_model * width).map(|_| generator.symmetric()).collect();
    let drawn = Tensor::f_from_slice(&drawn)?.f_view([width as i64, d_model as i64])?;
    let norms = drawn.f_linalg_norm(2.0, [-1i64].as_slice(), true, Kind::Float)?;
    let decoder = drawn.f_div(&norms)?.f_mul_scalar(FRESH_DECODER_NORM)?;
    let vector = |length: usize, value: f64| Tensor::f_full([length as i64], value, (Kind::Float, Device::Cpu));
    let zeros = || vector(width, 0.0);
    let own = match *architecture {
        Architecture::Standard { .. } => ArchitectureTensors::Standard { bias: zeros()? },
        Architecture::TopK { k, .. } => ArchitectureTensors::TopK { bias: zeros()?, k, ranking: Ranking::DecoderNorm },
        Architecture::BatchTopK { k, .. } => ArchitectureTensors::BatchTopK {
            bias: zeros()?,
            threshold: Tensor::f_zeros([0i64; 0], (Kind::Double, Device::Cpu))?,
            k: Some(k),
            ranking: Ranking::DecoderNorm,
        },
        Architecture::JumpRelu { initial_threshold, .. } => ArchitectureTensors::JumpRelu {
            bias: zeros()?,
            threshold: vector(width, initial_threshold)?,
            ranking: Ranking::PreActivation,
        },
        Architecture::Gated { .. } => {
            ArchitectureTensors::Gated { gate_bias: zeros()?, magnitude_bias: zeros()?, magnitude_log_scale: zeros()? }
        }
    };
    let parts = SaeTensors {
        encoder: decoder.f_transpose(0, 1)?.f_contiguous()?,
        decoder,
        decoder_bias: vector(d_model, 0.0)?,
        skip: None,
        input_bias,
        normalisation: Normalisation::None,
        own,
    };
    reopen(parts, architecture, device)
}

/// Builds a model from an SAE. Loss hyperparameters come from `architecture`; k, thresholds and ranking come from the SAE.
pub(crate) fn reopen(
    parts: SaeTensors,
    architecture: &Architecture,
    device: Device,
) -> Result<Box<dyn Model>, TchError> {
    let leaf = |tensor: Tensor| tensor.f_to_device(device)?.f_detach()?.f_set_requires_grad(true);
    let body = Body {
        encoder: leaf(parts.encoder)?,
        decoder: leaf(parts.decoder)?,
        decoder_bias: leaf(parts.decoder_bias)?,
        input_bias: parts.input_bias,
        normalisation: parts.normalisation,
    };
    let auxiliary = architecture.auxiliary();
    Ok(match parts.own {
        ArchitectureTensors::Standard { bias } => Box::new(Standard { body, bias: leaf(bias)? }),
        ArchitectureTensors::TopK { bias, k, ranking } => {
            Box::new(TopK { ranked: Ranked { body, bias: leaf(bias)?, ranking, auxiliary }, k })
        }
        ArchitectureTensors::BatchTopK { bias, threshold, k, ranking } => Box::new(BatchTopK {
            ranked: Ranked { body, bias: leaf(bias)?, ranking, auxiliary },
            k: k.unwrap_or_else(|| architecture.average()),
            threshold: threshold.f_to_device(device)?.f_to_kind(Kind::Double)?,
        }),
        ArchitectureTensors::JumpRelu { bias, threshold, .. } => {
            let Estimates { bandwidth, penalty } = architecture.estimates();
            Box::new(JumpRelu { body, bias: leaf(bias)?, threshold: leaf(threshold)?, bandwidth, penalty })
        }
        ArchitectureTensors::Gated { gate_bias, magnitude_bias, magnitude_log_scale } => Box::new(Gated {
            body,
            gate_bias: leaf(gate_bias)?,
            magnitude_bias: leaf(magnitude_bias)?,
            magnitude_log_scale: leaf(magnitude_log_scale)?,
        }),
    })
}

impl Architecture {
    fn auxiliary(&self) -> f64 {
        match *self {
            Self::TopK { auxiliary, .. } | Self::BatchTopK { auxiliary, .. } => auxiliary,
            _ => 0.0,
        }
    }

    fn average(&self) -> f64 {
        match *self {
            Self::BatchTopK { k, .. } => k,
            _ => 0.0,
        }
    }

    fn estimates(&self) -> Estimates {
        match *self {
            Self::JumpRelu { bandwidth, penalty, .. } => Estimates { bandwidth, penalty },
            _ => Estimates { bandwidth: Self::BANDWIDTH, penalty: Penalty::L0 },
        }
    }
}
