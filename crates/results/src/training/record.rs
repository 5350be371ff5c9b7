//! One line of `training.jsonl`.

use serde::{Deserialize, Serialize};

use crate::nan_as_null;
use crate::training::held_out::HeldOutFigures;

/// Measurements of one step on its batch, before the update, with the function that is trained (for `BatchTopK` not the
/// saved SAE's). Losses are means over the rows of the batch, already multiplied by their coefficients.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// Steps done, including this one.
    pub step: u64,
    /// Rows seen, including this step's.
    pub tokens: u64,
    /// Adam's learning rate at this step.
    pub learning_rate: f64,
    /// Sum of the losses.
    pub loss: f64,
    /// Mean over rows of Σ (x − r)².
    pub reconstruction_loss: f64,
    /// L1, L0 or tanh penalty; `None` if the architecture has none.
    pub sparsity_loss: Option<f64>,
    /// Loss of dead latents or of the gate; `None` if the architecture has none.
    pub auxiliary_loss: Option<f64>,
    /// Mean number of latents above zero.
    pub l0: f64,
    /// Mean over rows of 1 − ‖x − r‖² / ‖x − x̄‖², with x̄ the mean of the batch. NaN (null in JSON) if a row equals
    /// the mean.
    #[serde(with = "nan_as_null")]
    pub explained_variance: f64,
    /// Fraction of latents that have not fired for more than `dead_after` steps; `None` before that many steps.
    pub dead_fraction: Option<f64>,
    /// Fraction of latents that have not fired in any step so far.
    pub never_fired_fraction: f64,
    /// Metrics on held-out rows after the update, of the SAE as it would be saved; `None` if not measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_out: Option<HeldOutFigures>,
}
