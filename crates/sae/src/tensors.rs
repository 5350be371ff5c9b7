//! The tensors of an SAE as stored, without folding.

use tch::{Kind, TchError, Tensor};

use crate::config::{InputBias, Ranking};
use crate::normalisation::Normalisation;

/// The tensors and settings of an SAE, in float32 on the CPU.
#[derive(Debug)]
pub struct SaeTensors {
    /// `[d_in, width]`.
    pub encoder: Tensor,
    /// `[width, d_out]`.
    pub decoder: Tensor,
    /// `[d_out]`.
    pub decoder_bias: Tensor,
    /// `[d_out, d_in]`: the skip connection of a transcoder.
    pub skip: Option<Tensor>,
    /// Whether the decoder bias is subtracted from the input.
    pub input_bias: InputBias,
    /// The normalisation applied to the input.
    pub normalisation: Normalisation,
    /// Architecture-specific tensors.
    pub own: ArchitectureTensors,
}

/// Architecture-specific tensors. Vectors are `[width]`; `bias` is added to pre-activations.
#[derive(Debug)]
#[expect(missing_docs, reason = "fields are named as in the papers")]
pub enum ArchitectureTensors {
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
        ranking: Ranking,
    },
    Gated {
        gate_bias: Tensor,
        magnitude_bias: Tensor,
        /// Logarithm of the factor applied to the gate's pre-activation.
        magnitude_log_scale: Tensor,
    },
    /// A training checkpoint.
    BatchTopK {
        bias: Tensor,
        /// `[]`.
        threshold: Tensor,
        /// Mean number of active latents per row, if the file says so.
        k: Option<f64>,
        ranking: Ranking,
    },
}

impl ArchitectureTensors {
    /// Returns a remark on untrained thresholds. Thresholds below zero, or zero for all latents, have no effect: latents are
    /// `max(pre, 0)`.
    pub fn remark(&self) -> Result<Option<String>, TchError> {
        let (threshold, name) = match self {
            Self::BatchTopK { threshold, .. } => (threshold, "batch TopK"),
            Self::JumpRelu { threshold, .. } => (threshold, "JumpReLU"),
            Self::Standard { .. } | Self::TopK { .. } | Self::Gated { .. } => return Ok(None),
        };
        let count = |mask: Tensor| mask.f_sum(Kind::Int64)?.f_int64_value(&[]);
        let (all, negative, zero) =
            (threshold.numel() as i64, count(threshold.f_lt(0.0)?)?, count(threshold.f_eq(0.0)?)?);
        let (least, largest) = (threshold.f_min()?.f_double_value(&[])?, threshold.f_max()?.f_double_value(&[])?);
        if negative + zero == all {
            let values = if least.to_bits() == largest.to_bits() {
                format!("{least}, as if it had never been set")
            } else {
                format!("{least} to {largest}, none above zero")
            };
            let cause = if matches!(self, Self::BatchTopK { .. }) {
                ": training ended before it was set. Train on, or set it from activations that the SAE was not trained on"
            } else {
                ". A batch TopK whose training ended before its threshold was set is saved so"
            };
            return Ok(Some(format!(
                "{name} with a threshold of {values}; its figures are those of a plain ReLU{cause}"
            )));
        }
        Ok((negative > 0).then(|| {
            format!("{name} with {negative} of {all} thresholds below zero, the least {least}; those latents are plain ReLUs")
        }))
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn thresholds_that_hold_nothing_back_are_told() {
        let bias = || Tensor::zeros([3], (Kind::Float, Device::Cpu));
        let batch = |threshold: f32| ArchitectureTensors::BatchTopK {
            bias: bias(),
            threshold: Tensor::from(threshold),
            k: Some(2.0),
            ranking: Ranking::PreActivation,
        };
        let jump = |threshold: [f32; 3]| ArchitectureTensors::JumpRelu {
            bias: bias(),
            threshold: Tensor::from_slice(&threshold),
            ranking: Ranking::PreActivation,
        };
        for (own, words) in [
            (
                batch(-1.0),
                "threshold of -1, as if it had never been set; its figures are those of a plain ReLU: training ended",
            ),
            (batch(0.0), "threshold of 0, as if"),
            (jump([-1.0; 3]), "JumpReLU with a threshold of -1, as if"),
            (jump([-1.0, 0.0, -2.0]), "threshold of -2 to 0, none above zero"),
            (jump([-1.0, 0.0, 2.0]), "1 of 3 thresholds below zero, the least -1"),
        ] {
            let remark = own.remark().unwrap().unwrap();
            assert!(remark.contains(words), "{remark}");
        }
        for own in [batch(0.5), jump([0.0, 0.5, 1.0]), ArchitectureTensors::Standard { bias: bias() }] {
            assert_eq!(own.remark().unwrap(), None);
        }
    }
}
