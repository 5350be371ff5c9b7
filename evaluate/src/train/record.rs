//! One line of `training.jsonl`.

use serde::{Deserialize, Serialize};

/// What a step was like. Losses are means over the rows of its batch, already multiplied by their coefficients; the loss
/// is their sum.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// Steps done, this one included.
    pub step: u64,
    /// Rows seen, those of this step included.
    pub tokens: u64,
    /// Adam's learning rate in this step.
    pub learning_rate: f64,
    /// The sum of the losses.
    pub loss: f64,
    /// Mean over rows of Σ (x − r)².
    pub reconstruction_loss: f64,
    /// L1, L0 or tanh penalty; `None` where the architecture has none.
    pub sparsity_loss: Option<f64>,
    /// Loss of dead latents or of the gate; `None` where the architecture has none.
    pub auxiliary_loss: Option<f64>,
    /// Mean count of latents above zero.
    pub l0: f64,
    /// Mean over rows of 1 − ‖x − r‖² / ‖x − x̄‖², x̄ the mean of the batch.
    pub explained_variance: f64,
    /// The fraction of latents that have not fired for `dead_after` steps.
    pub dead_fraction: f64,
}
