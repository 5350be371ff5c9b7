//! What a training run logs.

use serde::{Deserialize, Serialize};

/// One line of `training.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// Steps of the optimiser so far.
    pub step: u64,
    /// Activations seen so far.
    pub tokens: u64,
    /// The learning rate of this step.
    pub learning_rate: f64,
    /// What was minimised.
    pub loss: f64,
    /// Mean over rows of ‖x − r‖².
    pub reconstruction_loss: f64,
    /// The sparsity penalty, where the architecture has one.
    pub sparsity_loss: Option<f64>,
    /// The auxiliary loss, where the architecture has one.
    pub auxiliary_loss: Option<f64>,
    /// Mean count of latents above zero.
    pub l0: f64,
    /// Share of the batch's variance that is explained.
    pub explained_variance: f64,
    /// Share of latents that have not fired for long.
    pub dead_fraction: f64,
}
