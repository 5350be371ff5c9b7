//! What training measures on held-out rows.

use serde::{Deserialize, Serialize};

/// What `evaluate run` finds of an SAE on the held-out rows: its columns, by the same sums. x̄ is the mean of these rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HeldOutFigures {
    /// Rows behind the figures.
    pub rows: u64,
    /// Mean count of latents above zero.
    pub l0: Option<f64>,
    /// Mean over rows of 1 − ‖x − r‖² / ‖x − x̄‖².
    pub explained_variance: Option<f64>,
    /// 1 − Σ‖x − r‖² / Σ‖x − x̄‖².
    pub explained_variance_pooled: Option<f64>,
    /// The fraction of latents that fire in none of the rows.
    pub dead_fraction: f64,
}
