//! What an SAE makes of a batch.

use hayloft_model::Divergences;
use hayloft_results::RowTerms;
use hayloft_sae::Firings;
use tch::Tensor;

/// What one SAE makes of one section of one batch. Each list is in the order of the batch's rows.
#[derive(Debug)]
pub(crate) struct BatchOutcome {
    /// The section's rows that are no outliers.
    pub(crate) kept: Vec<i64>,
    /// Of each of them, what it adds to the sums.
    pub(crate) terms: Vec<RowTerms>,
    /// In how many of these rows each latent fired.
    pub(crate) firings: Firings,
    /// Of the spliced run at each row that has a next token.
    pub(crate) predicted: Predicted,
}

/// What one SAE makes of one section of one batch, before anything is put back. Lists are in the order of the batch's rows.
#[derive(Debug)]
pub(crate) struct SaeOutput {
    /// The section's rows that are no outliers.
    pub(crate) kept: Vec<i64>,
    /// Their reconstructions `[kept.len(), width]`, float32, in the model's own space.
    pub(crate) values: Tensor,
    /// Of each of them, what it adds to the sums.
    pub(crate) terms: Vec<RowTerms>,
    /// In how many of these rows each latent fired.
    pub(crate) firings: Firings,
}

/// What is known of the spliced run's predictions.
#[derive(Debug)]
pub(crate) enum Predicted {
    /// There is no model.
    Nothing,
    /// Its losses.
    Losses(Vec<f32>),
    /// `[n, d_model]`: the residual that enters the final norm, from which losses and divergences are yet to be read.
    End(Tensor),
    /// Its losses, and how far it is from the clean run.
    Divergences(Divergences),
}

impl Predicted {
    /// The losses of the spliced run, as far as they have been read.
    pub(crate) fn losses(&self) -> &[f32] {
        match self {
            Self::Nothing | Self::End(_) => &[],
            Self::Losses(losses) => losses,
            Self::Divergences(divergences) => &divergences.loss,
        }
    }
}

impl SaeOutput {
    /// With what the spliced run predicts.
    pub(crate) fn with(self, predicted: Predicted) -> BatchOutcome {
        let Self { kept, terms, firings, .. } = self;
        BatchOutcome { kept, terms, firings, predicted }
    }
}
