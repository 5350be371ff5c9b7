//! The tensors of `sae_weights.safetensors`.

use std::path::Path;

use crate::config::{Architecture, Ranking, Role, SaeConfig, Skip};
use crate::error::SaeError;
use crate::formats::Opened;
use crate::tensor_files::Taker;
use crate::tensors::{ArchitectureTensors, SaeTensors};

/// Tolerance for a `scaling_factor` of one, as in `torch.allclose`.
const ONES_TOLERANCE: f64 = 1e-5;

/// Takes all tensors of the file.
pub(super) fn take(opened: &Opened, taker: &mut Taker<'_>) -> Result<SaeTensors, SaeError> {
    let Opened { config, weights, .. } = opened;
    let (d_in, d_out, d_sae) = (config.d_in, config.d_out, config.d_sae);
    let parts = SaeTensors {
        encoder: taker.tensor("W_enc", &[d_in, d_sae])?,
        decoder: taker.tensor("W_dec", &[d_sae, d_out])?,
        decoder_bias: taker.tensor("b_dec", &[d_out])?,
        skip: match config.role {
            Role::Transcoder(Skip::Matrix) => Some(taker.tensor("W_skip", &[d_out, d_in])?),
            _ => None,
        },
        input_bias: config.input_bias,
        normalisation: config.normalisation,
        own: own(config, taker)?,
    };
    check_scaling_factor(config, weights.path(), taker)?;
    Ok(parts)
}

fn own(config: &SaeConfig, taker: &mut Taker<'_>) -> Result<ArchitectureTensors, SaeError> {
    let width = [config.d_sae];
    Ok(match config.architecture {
        Architecture::Standard => ArchitectureTensors::Standard { bias: taker.tensor("b_enc", &width)? },
        Architecture::TopK { k, ranking } => {
            ArchitectureTensors::TopK { bias: taker.tensor("b_enc", &width)?, k, ranking }
        }
        Architecture::JumpRelu => ArchitectureTensors::JumpRelu {
            bias: taker.tensor("b_enc", &width)?,
            threshold: match taker.optional("log_threshold", &width)? {
                Some(logarithm) => logarithm.f_exp()?,
                None => taker.tensor("threshold", &width)?,
            },
            ranking: Ranking::PreActivation,
        },
        Architecture::Gated => ArchitectureTensors::Gated {
            gate_bias: taker.tensor("b_gate", &width)?,
            magnitude_log_scale: taker.tensor("r_mag", &width)?,
            magnitude_bias: taker.tensor("b_mag", &width)?,
        },
        Architecture::BatchTopK { k, ranking, .. } => ArchitectureTensors::BatchTopK {
            bias: taker.tensor("b_enc", &width)?,
            threshold: taker.tensor("topk_threshold", &[])?,
            k,
            ranking,
        },
    })
}

/// Accepts a `scaling_factor` of ones, a leftover of old training runs.
fn check_scaling_factor(config: &SaeConfig, path: &Path, taker: &mut Taker<'_>) -> Result<(), SaeError> {
    let Some(factor) = taker.optional("scaling_factor", &[config.d_sae])? else { return Ok(()) };
    let largest = factor.f_sub_scalar(1.0)?.f_abs()?.f_max()?.f_double_value(&[])?;
    if largest <= ONES_TOLERANCE {
        return Ok(());
    }
    Err(SaeError::ScalingFactor { path: path.to_path_buf(), largest })
}
