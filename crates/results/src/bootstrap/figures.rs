//! The metrics that have intervals.

use crate::columns::Columns;
use crate::sums::sequence::ResampledSums;

/// What a metric depends on, which decides whether two SAEs can be compared on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// Losses or divergences: always comparable.
    Predictions,
    /// Activations: comparable if the same rows are outliers.
    Activations,
    /// Activations in scaled space: comparable if the scale is the same too.
    ScaledActivations,
}

/// Number of metrics.
pub(super) const COUNT: usize = 17;

/// Every column except counts, and the divergences: the name, and what it depends on.
pub(super) const FIGURES: [(&str, About); COUNT] = [
    ("l0", About::Activations),
    ("ce_recovered", About::Predictions),
    ("ce_clean", About::Predictions),
    ("ce_sae", About::Predictions),
    ("ce_delta", About::Predictions),
    ("ce_zero", About::Predictions),
    ("explained_variance", About::Activations),
    ("explained_variance_pooled", About::Activations),
    ("mse", About::ScaledActivations),
    ("mse_raw", About::Activations),
    ("cosine_similarity", About::Activations),
    ("l2_ratio", About::Activations),
    ("l1", About::ScaledActivations),
    ("relative_reconstruction_bias", About::Activations),
    ("kl", About::Predictions),
    ("kl_ablated", About::Predictions),
    ("kl_recovered", About::Predictions),
];

/// Computes the metrics from sums, in the order of [`FIGURES`]. Undefined ones are NaN.
pub(super) fn figures(tally: &ResampledSums, scale: f64, has_kl: bool) -> [f64; COUNT] {
    let Columns {
        l0,
        ce_recovered,
        ce_clean,
        ce_sae,
        ce_delta,
        ce_zero,
        explained_variance,
        explained_variance_pooled,
        mse,
        mse_raw,
        loss_tokens: _,
        activation_rows: _,
        outlier_rows: _,
        cosine_similarity,
        l2_ratio,
        l1,
        relative_reconstruction_bias,
    } = tally.columns(scale);
    let [kl, kl_ablated, kl_recovered] = if has_kl { tally.divergences() } else { [None; 3] };
    [
        l0,
        ce_recovered,
        ce_clean,
        ce_sae,
        ce_delta,
        ce_zero,
        explained_variance,
        explained_variance_pooled,
        mse,
        mse_raw,
        cosine_similarity,
        l2_ratio,
        l1,
        relative_reconstruction_bias,
        kl,
        kl_ablated,
        kl_recovered,
    ]
    .map(|figure| figure.unwrap_or(f64::NAN))
}
