//! Activation functions.

use tch::{TchError, Tensor};

use crate::forward::shared_tensor::SharedTensor;

/// The activation function. Latents are never negative; a latent fires if it is above zero.
#[derive(Debug)]
pub(crate) enum Activation {
    /// `max(pre, 0)`.
    Relu,
    /// `max(pre, 0)` where `pre` is strictly above the threshold, 0 elsewhere.
    JumpRelu {
        /// `[width]` float32.
        threshold: SharedTensor,
    },
    /// `max(pre, 0)` for the `k` largest of a row, 0 elsewhere.
    TopK {
        /// Number of latents per row.
        k: usize,
    },
    /// `max(pre · scale + bias, 0)` where `pre` is strictly above zero, 0 elsewhere.
    ///
    /// `pre` includes the gate bias, so `bias` is the magnitude bias minus the scaled gate bias.
    Gated {
        /// `[width]` float32: `exp(r_mag)`.
        scale: SharedTensor,
        /// `[width]` float32: `b_mag − b_gate · exp(r_mag)`.
        bias: SharedTensor,
    },
}

impl Activation {
    /// The function of `count` latents from `first` on. It must be elementwise.
    pub(super) fn narrow(&self, first: i64, count: i64) -> Result<Self, TchError> {
        let own = |tensor: &SharedTensor| Ok::<_, TchError>(SharedTensor::from(tensor.f_narrow(0, first, count)?));
        Ok(match self {
            Self::Relu => Self::Relu,
            Self::JumpRelu { threshold } => Self::JumpRelu { threshold: own(threshold)? },
            Self::TopK { k } => Self::TopK { k: *k },
            Self::Gated { scale, bias } => Self::Gated { scale: own(scale)?, bias: own(bias)? },
        })
    }

    /// Applies the function to pre-activations `[rows, width]` float32 in place and returns the latents.
    pub(super) fn apply(&self, mut pre: Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::Relu => pre.f_relu_(),
            Self::JumpRelu { threshold } => {
                let open = pre.f_gt_tensor(threshold)?;
                pre.f_relu_()?.f_mul_(&open)
            }
            Self::TopK { k } => {
                let (values, columns) = pre.f_topk(*k as i64, -1, true, false)?;
                pre.f_zero_()?.f_scatter_(-1, &columns, &values.f_relu()?)
            }
            Self::Gated { scale, bias } => {
                let open = pre.f_gt(0.0)?;
                pre.f_mul_(scale)?.f_add_(bias)?.f_relu_()?.f_mul_(&open)
            }
        }
    }
}
