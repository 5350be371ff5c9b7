//! One line of `training.jsonl`.

use serde::{Deserialize, Serialize};

use crate::training::held_out::HeldOutFigures;
use crate::undefined;

/// What a step was like: of its batch, before its update, by the function that is trained (of a `BatchTopK` that is another one than the
/// saved SAE's). Losses are means over the rows of its batch, already multiplied by their coefficients; the loss
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
    /// Mean over rows of 1 − ‖x − r‖² / ‖x − x̄‖², x̄ the mean of the batch; NaN, in JSON null, where a row lies at the mean.
    #[serde(with = "undefined")]
    pub explained_variance: f64,
    /// The fraction of latents that have not fired for more than `dead_after` steps; `None` before the training has had as many.
    pub dead_fraction: Option<f64>,
    /// The fraction of latents that have fired in no step so far; `None` in logs of versions that did not count it.
    #[serde(default)]
    pub never_fired_fraction: Option<f64>,
    /// What the SAE is on held-out rows after this step's update, as it would be saved; `None` where that was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<HeldOutFigures>,
}
