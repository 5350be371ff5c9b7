//! The columns of a result, computed from sums. Each states its definition.

use serde::{Deserialize, Serialize};

use crate::sums::Sums;

/// A smaller difference of mean losses, in nats, is not used as a denominator.
const SMALLEST_GAP: f64 = 1e-4;

/// The metrics of a result. Fractions are not in per cent. `None` is undefined, such as a mean over no tokens. If no
/// row is kept nothing is spliced, and every metric of the spliced run is undefined.
///
/// x is the SAE's target at a token, r its reconstruction, x̄ the mean of x over the section's tokens, all scaled.
/// Metrics on activations exclude outliers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Columns {
    /// Mean number of latents above zero.
    pub l0: Option<f64>,
    /// (zero − SAE) / (zero − clean) of the mean losses. A denominator below 1e-4 in magnitude is replaced by 1.
    pub ce_recovered: Option<f64>,
    /// Mean next-token cross-entropy loss of the clean run, nats.
    pub ce_clean: Option<f64>,
    /// The same with r/c spliced in for the residual.
    pub ce_sae: Option<f64>,
    /// SAE − clean.
    pub ce_delta: Option<f64>,
    /// The same under zero ablation of the residual.
    pub ce_zero: Option<f64>,
    /// Mean over tokens of 1 − ‖x − r‖² / ‖x − x̄‖².
    pub explained_variance: Option<f64>,
    /// 1 − Σ‖x − r‖² / Σ‖x − x̄‖².
    pub explained_variance_pooled: Option<f64>,
    /// Mean over tokens of ‖x − r‖², in scaled space.
    pub mse: Option<f64>,
    /// `mse` / c²: unscaled.
    pub mse_raw: Option<f64>,
    /// Tokens that the losses cover.
    pub loss_tokens: u64,
    /// Tokens that the other metrics cover.
    pub activation_rows: u64,
    /// Tokens excluded from the other metrics as outliers.
    pub outlier_rows: u64,
    /// Mean over tokens of the cosine similarity of x and r.
    pub cosine_similarity: Option<f64>,
    /// Mean over tokens of ‖r‖ / ‖x‖.
    pub l2_ratio: Option<f64>,
    /// Mean over tokens of the sum of the latents.
    pub l1: Option<f64>,
    /// Σ‖r‖² / Σ x · r: 1 if x − r is orthogonal to r, less if r is too short.
    pub relative_reconstruction_bias: Option<f64>,
}

impl Columns {
    /// Names of all columns, in order.
    pub const NAMES: [&'static str; 17] = [
        "l0",
        "ce_recovered",
        "ce_clean",
        "ce_sae",
        "ce_delta",
        "ce_zero",
        "explained_variance",
        "explained_variance_pooled",
        "mse",
        "mse_raw",
        "loss_tokens",
        "activation_rows",
        "outlier_rows",
        "cosine_similarity",
        "l2_ratio",
        "l1",
        "relative_reconstruction_bias",
    ];

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
pub fn recovered(clean: f64, sae: f64, zero: f64) -> f64 {
    let gap = zero - clean;
    (zero - sae) / if gap.abs() < SMALLEST_GAP { 1.0 } else { gap }
}

fn defined(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sums::terms::RowTerms;

    #[test]
    fn columns_agree_with_values_by_hand() {
        // Three tokens: errors 1, 2, 6; deviations 4, 8, 8; latents 2, 3, 5 with sums 1, 2, 6; norms of x 2, 2, 3, of r
        // 1, 2, 3; products 1, 3, 6. Two losses.
        let mut sums = Sums { clean_loss: 2.0, zero_loss: 12.0, outlier_rows: 1, ..Sums::default() };
        for (latents, squared_error, squared_deviation, [target_square, reconstruction_square, product]) in
            [(2, 1.0, 4.0, [4.0, 1.0, 1.0]), (3, 2.0, 8.0, [4.0, 4.0, 3.0]), (5, 6.0, 8.0, [9.0, 9.0, 6.0])]
        {
            let l1 = squared_error;
            let terms = RowTerms {
                latents,
                l1,
                squared_error,
                squared_deviation,
                target_square,
                reconstruction_square,
                product,
            };
            sums.add_activation(&terms);
        }
        sums.add_sae_losses(&[0, 1], &[1.5, 2.5]);
        let expected = Columns {
            l0: Some(10.0 / 3.0),
            ce_recovered: Some(0.8),
            ce_clean: Some(1.0),
            ce_sae: Some(2.0),
            ce_delta: Some(1.0),
            ce_zero: Some(6.0),
            explained_variance: Some((0.75 + 0.75 + 0.25) / 3.0),
            explained_variance_pooled: Some(1.0 - 9.0 / 20.0),
            mse: Some(3.0),
            mse_raw: Some(0.75),
            loss_tokens: 2,
            activation_rows: 3,
            outlier_rows: 1,
            cosine_similarity: Some((0.5 + 0.75 + 6.0 / 9.0) / 3.0),
            l2_ratio: Some((0.5 + 1.0 + 1.0) / 3.0),
            l1: Some(3.0),
            relative_reconstruction_bias: Some(1.4),
        };
        assert_eq!(Columns::of(&sums, 2.0), expected);
        let fields = serde_json::to_value(expected).unwrap();
        assert!(fields.as_object().unwrap().keys().eq(Columns::NAMES), "the list of names is in step");
    }

    #[test]
    fn a_gap_too_small_to_divide_by_counts_as_one() {
        assert!((recovered(1.0, 1.5, 1.00009) + 0.49991).abs() < 1e-12);
        assert!((recovered(1.0, 1.5, 1.0002) + 2499.0).abs() < 1e-6);
        assert!((recovered(1.0, 1.5, 0.99991) + 0.50009).abs() < 1e-12, "a negative gap is small by its size");
    }

    #[test]
    fn means_over_nothing_are_undefined() {
        let columns = Columns::of(&Sums::default(), 1.0);
        assert_eq!((columns.l0, columns.ce_clean, columns.ce_recovered, columns.mse), (None, None, None, None));
        assert_eq!((columns.explained_variance, columns.explained_variance_pooled), (None, None));
        assert_eq!((columns.cosine_similarity, columns.l2_ratio, columns.l1), (None, None, None));
        assert_eq!(columns.relative_reconstruction_bias, None);
    }

    #[test]
    fn a_run_in_which_nothing_was_spliced_has_no_losses_of_its_own() {
        let losses = Sums { loss_tokens: 2, clean_loss: 2.0, sae_loss: 2.0, zero_loss: 12.0, ..Sums::default() };
        let columns = Columns::of(&Sums { outlier_rows: 3, ..losses.clone() }, 1.0);
        assert_eq!((columns.ce_sae, columns.ce_delta, columns.ce_recovered), (None, None, None));
        assert_eq!((columns.ce_clean, columns.ce_zero, columns.loss_tokens), (Some(1.0), Some(6.0), 2));
        let columns = Columns::of(&Sums { activation_rows: 1, outlier_rows: 2, ..losses }, 1.0);
        assert_eq!((columns.ce_sae, columns.ce_recovered), (Some(1.0), Some(1.0)), "one row spliced is spliced");
    }

    #[test]
    fn a_reconstruction_that_is_zero_has_no_relative_bias() {
        let mut sums = Sums::default();
        sums.add_activation(&RowTerms { target_square: 4.0, squared_error: 4.0, ..RowTerms::default() });
        let columns = Columns::of(&sums, 1.0);
        assert_eq!((columns.cosine_similarity, columns.l2_ratio), (Some(0.0), Some(0.0)));
        assert_eq!(columns.relative_reconstruction_bias, None);
    }

    #[test]
    fn explained_variance_may_be_hugely_negative() {
        let mut sums = Sums::default();
        let terms = RowTerms { squared_error: 2663.0, squared_deviation: 1.0, ..RowTerms::default() };
        sums.add_activation(&terms);
        assert_eq!(Columns::of(&sums, 1.0).explained_variance, Some(-2662.0));
    }
}
