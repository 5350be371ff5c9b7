//! Architectures and their hyperparameters.

use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// An architecture with its hyperparameters. Coefficients have the same meaning as in SAELens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum Architecture {
    /// `ReLU` with an L1 penalty on latents times decoder norms.
    Standard {
        /// The L1 coefficient.
        l1: f64,
    },
    /// The k largest pre-activations of each row.
    TopK {
        /// Active latents per row.
        k: usize,
        /// Coefficient of the auxiliary (dead latent) loss.
        auxiliary: f64,
    },
    /// The largest pre-activations of a batch, k per row on average. Saved as a `JumpReLU` with one threshold.
    BatchTopK {
        /// Mean number of active latents per row.
        k: f64,
        /// Coefficient of the auxiliary (dead latent) loss.
        auxiliary: f64,
    },
    /// `ReLU` above a learnt threshold per latent.
    JumpRelu {
        /// The penalty coefficient.
        l0: f64,
        /// The penalty.
        penalty: Penalty,
        /// Width of the rectangular kernel that approximates the derivative of the step.
        bandwidth: f64,
        /// The initial thresholds.
        initial_threshold: f64,
    },
    /// A gate, with an L1 penalty on its pre-activations times decoder norms, and a magnitude.
    Gated {
        /// The L1 coefficient.
        l1: f64,
    },
}

/// The penalty of a `JumpReLU`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum Penalty {
    /// The number of active latents (Rajamanoharan et al. 2024).
    L0,
    /// Σ tanh(scale × latent × decoder norm) (Anthropic, January 2025).
    Tanh {
        /// Steepness of the penalty.
        scale: f64,
    },
}

impl Architecture {
    /// SAELens's `aux_loss_coefficient`.
    pub const AUXILIARY: f64 = 1.0;
    /// SAELens's `jumprelu_bandwidth`.
    pub const BANDWIDTH: f64 = 0.05;
    /// SAELens's `jumprelu_init_threshold`.
    pub const INITIAL_THRESHOLD: f64 = 0.01;
    /// SAELens's `jumprelu_tanh_scale`.
    pub const TANH_SCALE: f64 = 4.0;

    /// SAELens's name of the training architecture.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Standard { .. } => "standard",
            Self::TopK { .. } => "topk",
            Self::BatchTopK { .. } => "batchtopk",
            Self::JumpRelu { .. } => "jumprelu",
            Self::Gated { .. } => "gated",
        }
    }

    /// Coefficient of the sparsity loss after warm-up; 0 if there is none.
    pub(crate) fn coefficient(&self) -> f64 {
        match *self {
            Self::Standard { l1 } | Self::Gated { l1 } => l1,
            Self::JumpRelu { l0, .. } => l0,
            Self::TopK { .. } | Self::BatchTopK { .. } => 0.0,
        }
    }

    /// Validates the hyperparameters.
    pub(crate) fn check(&self, width: usize) -> Result<(), TrainError> {
        let at_least_zero = |what, value: f64| {
            if value.is_finite() && value >= 0.0 {
                return Ok(());
            }
            Err(TrainError::setting(what, "a number of at least zero", &value))
        };
        match *self {
            Self::Standard { l1 } | Self::Gated { l1 } => at_least_zero("l1", l1),
            Self::TopK { k, auxiliary } => {
                if !(1..=width).contains(&k) {
                    return Err(TrainError::setting("k", format!("1 to the width, {width}"), &k));
                }
                at_least_zero("auxiliary coefficient", auxiliary)
            }
            Self::BatchTopK { k, auxiliary } => {
                if !(k > 0.0 && k <= width as f64) {
                    return Err(TrainError::setting("k", format!("above zero, and at most the width, {width}"), &k));
                }
                at_least_zero("auxiliary coefficient", auxiliary)
            }
            Self::JumpRelu { l0, penalty, bandwidth, initial_threshold } => {
                at_least_zero("l0", l0)?;
                at_least_zero("initial threshold", initial_threshold)?;
                if !(bandwidth.is_finite() && bandwidth > 0.0) {
                    return Err(TrainError::setting("bandwidth", "a number above zero", &bandwidth));
                }
                if let Penalty::Tanh { scale } = penalty {
                    at_least_zero("tanh scale", scale)?;
                }
                Ok(())
            }
        }
    }
}
