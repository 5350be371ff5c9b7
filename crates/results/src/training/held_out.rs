//! Metrics on held-out rows during training.

use serde::{Deserialize, Serialize};

/// Metrics of an SAE on held-out rows, from the same sums as `evaluate run`. x̄ is the mean of these rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HeldOutFigures {
    /// Number of rows.
    pub rows: u64,
    /// Mean number of latents above zero.
    pub l0: Option<f64>,
    /// Mean over rows of 1 − ‖x − r‖² / ‖x − x̄‖².
    pub explained_variance: Option<f64>,
    /// 1 − Σ‖x − r‖² / Σ‖x − x̄‖².
    pub explained_variance_pooled: Option<f64>,
    /// Fraction of latents that fire in no row.
    pub dead_fraction: f64,
}
