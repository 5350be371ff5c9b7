//! What is trained, with the numbers that its losses are made of.

use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// An architecture with its hyperparameters. Coefficients mean what they mean in SAELens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum Architecture {
    /// `ReLU`, with L1 of the latents times the norms of their decoder rows.
    Standard {
        /// What L1 is multiplied by.
        l1: f64,
    },
    /// The k largest pre-activations of each row.
    TopK {
        /// Latents of a row.
        k: usize,
        /// What the loss of dead latents is multiplied by.
        auxiliary: f64,
    },
    /// The largest pre-activations of a batch, k a row on average. Saved as a `JumpReLU` with one threshold.
    BatchTopK {
        /// Latents of a row, on average.
        k: f64,
        /// What the loss of dead latents is multiplied by.
        auxiliary: f64,
    },
    /// `ReLU` above a threshold that is learnt for each latent.
    JumpRelu {
        /// What the penalty is multiplied by.
        l0: f64,
        /// What is penalised.
        penalty: Penalty,
        /// Width of the rectangle that stands for the derivative of the step.
        bandwidth: f64,
        /// The thresholds to begin with.
        initial_threshold: f64,
    },
    /// A gate, with L1 of its pre-activations times the norms of their decoder rows, and a magnitude.
    Gated {
        /// What L1 is multiplied by.
        l1: f64,
    },
}

/// What a `JumpReLU` is penalised for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum Penalty {
    /// The number of latents that fire (Rajamanoharan et al. 2024).
    L0,
    /// Σ tanh(scale × latent × norm of its decoder row) (Anthropic, January 2025).
    Tanh {
        /// How soon a latent counts as firing.
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

    /// SAELens's name for it in training.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Standard { .. } => "standard",
            Self::TopK { .. } => "topk",
            Self::BatchTopK { .. } => "batchtopk",
            Self::JumpRelu { .. } => "jumprelu",
            Self::Gated { .. } => "gated",
        }
    }

    /// What the sparsity loss is multiplied by once it is warm; 0 where there is none.
    pub(crate) fn coefficient(&self) -> f64 {
        match *self {
            Self::Standard { l1 } | Self::Gated { l1 } => l1,
            Self::JumpRelu { l0, .. } => l0,
            Self::TopK { .. } | Self::BatchTopK { .. } => 0.0,
        }
    }

    /// Refuses what makes no sense.
    pub(crate) fn check(&self, width: usize) -> Result<(), TrainError> {
        let refuse = |what, expected: String, got: String| Err(TrainError::Setting { what, expected, got });
        let at_least_zero = |what, value: f64| {
            if value.is_finite() && value >= 0.0 {
                return Ok(());
            }
            Err(TrainError::Setting { what, expected: "a number of at least zero".to_owned(), got: value.to_string() })
        };
        match *self {
            Self::Standard { l1 } | Self::Gated { l1 } => at_least_zero("l1", l1),
            Self::TopK { k, auxiliary } => {
                if !(1..=width).contains(&k) {
                    return refuse("k", format!("1 to the width, {width}"), k.to_string());
                }
                at_least_zero("auxiliary coefficient", auxiliary)
            }
            Self::BatchTopK { k, auxiliary } => {
                if !(k > 0.0 && k <= width as f64) {
                    return refuse("k", format!("above zero, and at most the width, {width}"), k.to_string());
                }
                at_least_zero("auxiliary coefficient", auxiliary)
            }
            Self::JumpRelu { l0, penalty, bandwidth, initial_threshold } => {
                at_least_zero("l0", l0)?;
                at_least_zero("initial threshold", initial_threshold)?;
                if !(bandwidth.is_finite() && bandwidth > 0.0) {
                    return refuse("bandwidth", "a number above zero".to_owned(), bandwidth.to_string());
                }
                if let Penalty::Tanh { scale } = penalty {
                    at_least_zero("tanh scale", scale)?;
                }
                Ok(())
            }
        }
    }
}
