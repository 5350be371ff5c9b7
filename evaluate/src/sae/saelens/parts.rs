//! SAELens's tensors as they are in the file, with nothing folded.

use tch::Tensor;

use super::config::{Architecture, InputBias, Ranking, SaeConfig};
use crate::sae::weights::{Taker, WeightFile};
use crate::sae::{Normalisation, SaeError};

/// How far a `scaling_factor` may be from one: `torch.allclose`'s tolerance.
const ONES_TOLERANCE: f64 = 1e-5;

/// An SAE as its file describes it, in float32 on the CPU.
#[derive(Debug)]
pub(crate) struct Parts {
    /// `[d_model, width]`.
    pub(crate) encoder: Tensor,
    /// `[width, d_model]`.
    pub(crate) decoder: Tensor,
    /// `[d_model]`.
    pub(crate) decoder_bias: Tensor,
    pub(crate) input_bias: InputBias,
    pub(crate) normalisation: Normalisation,
    pub(crate) own: Own,
}

/// What each architecture has of its own. Vectors are `[width]`.
#[derive(Debug)]
pub(crate) enum Own {
    Standard {
        bias: Tensor,
    },
    TopK {
        bias: Tensor,
        k: usize,
        ranking: Ranking,
    },
    JumpRelu {
        bias: Tensor,
        threshold: Tensor,
    },
    Gated {
        gate_bias: Tensor,
        magnitude_bias: Tensor,
        /// Its exponential is what the gate's pre-activation is multiplied by.
        magnitude_log_scale: Tensor,
    },
    /// A training checkpoint.
    BatchTopK {
        bias: Tensor,
        /// `[]`.
        threshold: Tensor,
        /// Latents a row on average, if the file says.
        k: Option<f64>,
        ranking: Ranking,
    },
}

/// Takes every tensor out of the file: one that is missing, or that is left, does not fit the configuration.
pub(super) fn take(config: &SaeConfig, file: &WeightFile) -> Result<Parts, SaeError> {
    let (d_in, d_sae) = (config.d_in, config.d_sae);
    let mut taker = file.take();
    let parts = Parts {
        encoder: taker.tensor("W_enc", &[d_in, d_sae])?,
        decoder: taker.tensor("W_dec", &[d_sae, d_in])?,
        decoder_bias: taker.tensor("b_dec", &[d_in])?,
        input_bias: config.input_bias,
        normalisation: config.normalisation,
        own: own(config, &mut taker)?,
    };
    check_scaling_factor(config, file, &mut taker)?;
    taker.finish(config.architecture.as_str())?;
    Ok(parts)
}

fn own(config: &SaeConfig, taker: &mut Taker<'_>) -> Result<Own, SaeError> {
    let width = [config.d_sae];
    Ok(match config.architecture {
        Architecture::Standard => Own::Standard { bias: taker.tensor("b_enc", &width)? },
        Architecture::TopK { k, ranking } => Own::TopK { bias: taker.tensor("b_enc", &width)?, k, ranking },
        Architecture::JumpRelu => Own::JumpRelu {
            bias: taker.tensor("b_enc", &width)?,
            threshold: match taker.optional("log_threshold", &width)? {
                Some(logarithm) => logarithm.f_exp()?,
                None => taker.tensor("threshold", &width)?,
            },
        },
        Architecture::Gated => Own::Gated {
            gate_bias: taker.tensor("b_gate", &width)?,
            magnitude_log_scale: taker.tensor("r_mag", &width)?,
            magnitude_bias: taker.tensor("b_mag", &width)?,
        },
        Architecture::BatchTopK { k, ranking, .. } => Own::BatchTopK {
            bias: taker.tensor("b_enc", &width)?,
            threshold: taker.tensor("topk_threshold", &[])?,
            k,
            ranking,
        },
    })
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
