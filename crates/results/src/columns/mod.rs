//! The columns of a result: the values, the formulas, and the list that every file and table follows.
//!
//! A metric is a field of [`Columns`], its formula in [`Columns::of`], and an entry of [`COLUMNS`]. The divergences'
//! values and formulas are those of [`Kl`](crate::Kl).

mod column;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::column::{Better, BrokenDown, Column, ColumnTable, ColumnValue, DependsOn, Digits, format_number};
use crate::sums::Sums;

/// A smaller difference of mean losses, in nats, is not used as a denominator.
const SMALLEST_GAP: f64 = 1e-4;

/// The metrics of a result, as [`COLUMNS`] defines them. Fractions are not in per cent. `None` is undefined, such as a
/// mean over no tokens. If no row is kept nothing is spliced, and every metric of the spliced run is undefined.
///
/// x is the SAE's target at a token, r its reconstruction, x̄ the mean of x over the section's tokens, all scaled.
/// Metrics on activations exclude outliers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Columns {
    /// Mean number of latents above zero.
    pub l0: Option<f64>,
    /// Share of the loss recovered.
    pub ce_recovered: Option<f64>,
    /// Mean loss of the clean run, nats.
    pub ce_clean: Option<f64>,
    /// Mean loss with r/c spliced in for the residual, nats.
    pub ce_sae: Option<f64>,
    /// SAE − clean, nats.
    pub ce_delta: Option<f64>,
    /// Mean loss under zero ablation of the residual, nats.
    pub ce_zero: Option<f64>,
    /// Mean explained variance.
    pub explained_variance: Option<f64>,
    /// Pooled explained variance.
    pub explained_variance_pooled: Option<f64>,
    /// Mean ‖x − r‖², in scaled space.
    pub mse: Option<f64>,
    /// `mse` / c²: unscaled.
    pub mse_raw: Option<f64>,
    /// Tokens that the losses cover.
    pub loss_tokens: u64,
    /// Tokens that the other metrics cover.
    pub activation_rows: u64,
    /// Tokens excluded from the other metrics as outliers.
    pub outlier_rows: u64,
    /// Mean cosine similarity of x and r.
    pub cosine_similarity: Option<f64>,
    /// Mean ‖r‖ / ‖x‖.
    pub l2_ratio: Option<f64>,
    /// Mean sum of the latents.
    pub l1: Option<f64>,
    /// Σ‖r‖² / Σ x · r.
    pub relative_reconstruction_bias: Option<f64>,
}

impl Columns {
    /// Names of the columns, in order; divergences are not among them.
    pub fn names() -> impl Iterator<Item = &'static str> {
        COLUMNS.iter().filter(|column| column.table != ColumnTable::Divergences).map(|column| column.name)
    }

    /// Computes the columns from sums, for a scale c.
    pub fn of(sums: &Sums, scale: f64) -> Self {
        let per_loss = |sum: f64| sum / sums.loss_tokens as f64;
        let per_row = |sum: f64| sum / sums.activation_rows as f64;
        let (clean, zero) = (per_loss(sums.clean_loss), per_loss(sums.zero_loss));
        let sae = if sums.activation_rows > 0 { per_loss(sums.sae_loss) } else { f64::NAN };
        let mse = per_row(sums.squared_error);
        Self {
            l0: defined(per_row(sums.latents as f64)),
            ce_recovered: defined(recovered(clean, sae, zero)),
            ce_clean: defined(clean),
            ce_sae: defined(sae),
            ce_delta: defined(sae - clean),
            ce_zero: defined(zero),
            explained_variance: defined(per_row(sums.explained_variance)),
            explained_variance_pooled: defined(1.0 - sums.squared_error / sums.squared_deviation),
            mse: defined(mse),
            mse_raw: defined(mse / (scale * scale)),
            loss_tokens: sums.loss_tokens,
            activation_rows: sums.activation_rows,
            outlier_rows: sums.outlier_rows,
            cosine_similarity: defined(per_row(sums.cosine_similarity)),
            l2_ratio: defined(per_row(sums.l2_ratio)),
            l1: defined(per_row(sums.l1)),
            relative_reconstruction_bias: defined(sums.reconstruction_square / sums.product),
        }
    }
}

/// (zero − SAE) / (zero − clean) of mean losses.
fn recovered(clean: f64, sae: f64, zero: f64) -> f64 {
    let gap = zero - clean;
    (zero - sae) / if gap.abs() < SMALLEST_GAP { 1.0 } else { gap }
}

fn defined(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// A metric on activations in the main table.
const ACTIVATIONS: Column = Column {
    name: "",
    unit: "",
    definition: "",
    heading: "",
    title: "",
    table: ColumnTable::Main,
    is_percent: false,
    digits: Digits::Significant(4),
    depends_on: Some(DependsOn::Activations),
    is_compared: true,
    better: Better::Neither,
    broken_down: BrokenDown::BySubsetAndPosition,
    read: |_, _| None,
};

/// A metric on losses in the main table.
const LOSSES: Column =
    Column { unit: "nats", digits: Digits::Decimals(4), depends_on: Some(DependsOn::Predictions), ..ACTIVATIONS };

/// A metric in another table, which has no table of differences.
const SUPPORTING: Column =
    Column { table: ColumnTable::Supporting, is_compared: false, broken_down: BrokenDown::No, ..ACTIVATIONS };

/// A count.
const COUNT: Column =
    Column { depends_on: None, digits: Digits::Decimals(0), broken_down: BrokenDown::BySubset, ..SUPPORTING };

/// A divergence.
const DIVERGENCE: Column =
    Column { unit: "nats", table: ColumnTable::Divergences, depends_on: Some(DependsOn::Predictions), ..SUPPORTING };

/// All columns, in the order of JSON files, then the divergences.
pub const COLUMNS: &[Column] = &[
    Column {
        name: "l0",
        unit: "latents",
        definition: "mean over rows of the number of latents above zero",
        heading: "L0",
        title: "L0",
        digits: Digits::Decimals(2),
        read: |columns, _| columns.l0,
        ..ACTIVATIONS
    },
    Column {
        name: "ce_recovered",
        unit: "fraction",
        definition: "(zero-ablation CE − SAE CE) / (zero-ablation CE − clean CE); the denominator is 1 where it is under 1e-4 in size",
        heading: "CE\nrec. %",
        title: "CE loss recovered %",
        is_percent: true,
        digits: Digits::Decimals(2),
        better: Better::High,
        read: |columns, _| columns.ce_recovered,
        ..LOSSES
    },
    Column {
        name: "ce_clean",
        definition: "mean over tokens of the next-token cross-entropy of the untouched run",
        heading: "Clean\nCE",
        title: "Clean CE",
        is_compared: false,
        read: |columns, _| columns.ce_clean,
        ..LOSSES
    },
    Column {
        name: "ce_sae",
        definition: "cross-entropy with the reconstruction r/c in place of the residual",
        heading: "SAE\nCE",
        title: "SAE CE",
        better: Better::Low,
        read: |columns, _| columns.ce_sae,
        ..LOSSES
    },
    Column {
        name: "ce_delta",
        definition: "SAE CE − clean CE",
        heading: "CE\ndelta",
        title: "CE delta",
        is_compared: false,
        better: Better::Low,
        read: |columns, _| columns.ce_delta,
        ..LOSSES
    },
    Column {
        name: "ce_zero",
        definition: "cross-entropy with zeros in place of the residual",
        heading: "Zero\nCE",
        title: "Zero-ablation CE",
        is_compared: false,
        read: |columns, _| columns.ce_zero,
        ..LOSSES
    },
    Column {
        name: "explained_variance",
        unit: "fraction",
        definition: "mean over rows of 1 − ‖x − r‖² / ‖x − x̄‖², that is of 1 − FVU; SAELens's explained_variance_legacy. It can be hugely negative, where a row lies near the mean",
        heading: "EV %",
        title: "EV %",
        is_percent: true,
        digits: Digits::Decimals(2),
        broken_down: BrokenDown::BySubset,
        better: Better::High,
        read: |columns, _| columns.explained_variance,
        ..ACTIVATIONS
    },
    Column {
        name: "explained_variance_pooled",
        unit: "fraction",
        definition: "1 − Σ‖x − r‖² / Σ‖x − x̄‖² over rows; SAELens's explained_variance",
        heading: "EV\npooled %",
        title: "EV pooled %",
        is_percent: true,
        digits: Digits::Decimals(2),
        better: Better::High,
        read: |columns, _| columns.explained_variance_pooled,
        ..ACTIVATIONS
    },
    Column {
        name: "mse",
        unit: "scaled norm²",
        definition: "mean over rows of ‖x − r‖², in scaled space",
        heading: "MSE",
        title: "MSE",
        depends_on: Some(DependsOn::ScaledActivations),
        better: Better::Low,
        read: |columns, _| columns.mse,
        ..ACTIVATIONS
    },
    Column {
        name: "mse_raw",
        unit: "norm²",
        definition: "MSE / c², in the model's own space",
        heading: "Raw MSE",
        title: "Raw MSE",
        better: Better::Low,
        read: |columns, _| columns.mse_raw,
        ..SUPPORTING
    },
    Column {
        name: "loss_tokens",
        unit: "tokens",
        definition: "tokens behind the losses",
        heading: "Losses",
        title: "Losses",
        read: |columns, _| Some(columns.loss_tokens as f64),
        ..COUNT
    },
    Column {
        name: "activation_rows",
        unit: "rows",
        definition: "rows behind the metrics on activations: those of the section, outliers not counted",
        heading: "Activations",
        title: "Activations",
        read: |columns, _| Some(columns.activation_rows as f64),
        ..COUNT
    },
    Column {
        name: "outlier_rows",
        unit: "rows",
        definition: "rows of the section that are outliers",
        heading: "Outliers",
        title: "Outliers",
        broken_down: BrokenDown::No,
        read: |columns, _| Some(columns.outlier_rows as f64),
        ..COUNT
    },
    Column {
        name: "cosine_similarity",
        unit: "cosine",
        definition: "mean over rows of x · r / (‖x‖ ‖r‖); 0 in a row where x or r is zero",
        heading: "Cosine",
        title: "Cosine similarity",
        table: ColumnTable::Reconstructions,
        broken_down: BrokenDown::BySubset,
        better: Better::High,
        read: |columns, _| columns.cosine_similarity,
        ..SUPPORTING
    },
    Column {
        name: "l2_ratio",
        unit: "ratio",
        definition: "mean over rows of ‖r‖ / ‖x‖; the denominator is 1 where it is under 1e-4",
        heading: "L2 ratio",
        title: "L2 ratio",
        table: ColumnTable::Reconstructions,
        broken_down: BrokenDown::BySubset,
        read: |columns, _| columns.l2_ratio,
        ..SUPPORTING
    },
    Column {
        name: "l1",
        unit: "scaled activation",
        definition: "mean over rows of the sum of the latents, in scaled space",
        heading: "L1",
        title: "L1",
        table: ColumnTable::Latents,
        depends_on: Some(DependsOn::ScaledActivations),
        read: |columns, _| columns.l1,
        ..SUPPORTING
    },
    Column {
        name: "relative_reconstruction_bias",
        unit: "ratio",
        definition: "Σ‖r‖² / Σ x · r, equation 10 of Rajamanoharan et al. (arXiv 2404.16014): under 1 where reconstructions are too short",
        heading: "Rel. bias",
        title: "Relative bias",
        table: ColumnTable::Reconstructions,
        read: |columns, _| columns.relative_reconstruction_bias,
        ..SUPPORTING
    },
    Column {
        name: "kl",
        definition: "mean over tokens of KL(clean ‖ spliced)",
        heading: "KL",
        title: "KL",
        is_compared: true,
        better: Better::Low,
        read: |_, kl| kl?.kl,
        ..DIVERGENCE
    },
    Column {
        name: "kl_ablated",
        definition: "the same divergence with zeros in place of the residual",
        heading: "KL ablated",
        title: "KL ablated",
        read: |_, kl| kl?.kl_ablated,
        ..DIVERGENCE
    },
    Column {
        name: "kl_recovered",
        unit: "fraction",
        definition: "(KL ablated − KL) / KL ablated; SAELens's kl_div_score. Of two bounds it is neither a bound nor exact",
        heading: "KL rec. %",
        title: "KL recovered %",
        is_percent: true,
        digits: Digits::Decimals(2),
        better: Better::High,
        read: |_, kl| kl?.kl_recovered,
        ..DIVERGENCE
    },
];
