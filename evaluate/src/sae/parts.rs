//! An SAE's tensors as they are in the file, with nothing folded.

use hayloft_model::Precision;
use tch::{Device, Tensor};

use super::config::{InputBias, Ranking};
use super::{Normalisation, Sae, SaeError, load};

/// An SAE as its file describes it, in float32 on the CPU.
#[derive(Debug)]
pub(crate) struct Parts {
    /// `[d_in, width]`.
    pub(crate) encoder: Tensor,
    /// `[width, d_out]`.
    pub(crate) decoder: Tensor,
    /// `[d_out]`.
    pub(crate) decoder_bias: Tensor,
    /// `[d_out, d_in]`, of a transcoder whose input goes past its latents too.
    pub(crate) skip: Option<Tensor>,
    pub(crate) input_bias: InputBias,
    pub(crate) normalisation: Normalisation,
    pub(crate) own: Own,
}

impl Parts {
    /// The one form that the forward pass knows, on a device, in float32.
    pub(crate) fn load(self, device: Device) -> Result<Sae, SaeError> {
        load::load(self, device, Precision::F32)
    }
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
        ranking: Ranking,
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
