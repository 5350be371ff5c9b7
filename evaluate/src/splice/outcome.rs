//! Outcomes of an SAE on a batch.

use std::sync::Arc;

use hayloft_model::Divergences;
use hayloft_results::RowTerms;
use hayloft_rows::LeftOut;
use hayloft_sae::Firings;
use tch::Tensor;

/// Outcome of one SAE on one section of one batch. Lists are in the order of the batch's rows.
#[derive(Debug)]
pub(crate) struct BatchOutcome {
    /// What the SAE read.
    pub(crate) rows: SaeRows,
    /// For each kept row, its terms of the sums.
    pub(crate) terms: Vec<RowTerms>,
    /// For each latent, the number of kept rows in which it fired.
    pub(crate) firings: Firings,
    /// Predictions of the spliced run at each row with a next token.
    pub(crate) predicted: Predicted,
}

/// The rows of a section of a batch that an SAE reads.
#[derive(Debug)]
pub(crate) struct SaeRows {
    /// `[rows]`: the norms of the SAE's input, of all rows of the batch.
    pub(crate) norms: Arc<[f64]>,
    /// The section's rows that are not left out.
    pub(crate) kept: Vec<i64>,
    /// Counts of the section's rows that are left out.
    pub(crate) left_out: LeftOut,
}

/// Output of one SAE on one section of one batch, before splicing. Lists are in the order of the batch's rows.
#[derive(Debug)]
pub(crate) struct SaeOutput {
    /// What the SAE read.
    pub(crate) rows: SaeRows,
    /// Reconstructions of the kept rows, `[kept.len(), width]`, float32, unscaled.
    pub(crate) values: Tensor,
    /// For each kept row, its terms of the sums.
    pub(crate) terms: Vec<RowTerms>,
    /// For each latent, the number of kept rows in which it fired.
    pub(crate) firings: Firings,
}

/// Predictions of the spliced run, as far as they are read.
#[derive(Debug)]
pub(crate) enum Predicted {
    /// There is no model.
    Nothing,
    /// Losses in nats.
    Losses(Vec<f32>),
    /// `[n, d_model]`: the residual stream at the final norm's input, from which losses and divergences are still to be
    /// read.
    End(Tensor),
    /// Losses and divergences from the clean run.
    Divergences(Divergences),
}

impl Predicted {
    /// The losses of the spliced run; empty if they have not been read.
    pub(crate) fn losses(&self) -> &[f32] {
        match self {
            Self::Nothing | Self::End(_) => &[],
            Self::Losses(losses) => losses,
            Self::Divergences(divergences) => &divergences.loss,
        }
    }

    /// Another owner of the same predictions.
    pub(crate) fn shallow_clone(&self) -> Self {
        match self {
            Self::Nothing => Self::Nothing,
            Self::Losses(losses) => Self::Losses(losses.clone()),
            Self::End(end) => Self::End(end.shallow_clone()),
            Self::Divergences(divergences) => Self::Divergences(divergences.clone()),
        }
    }
}

impl SaeOutput {
    /// Adds the predictions of the spliced run.
    pub(crate) fn with(self, predicted: Predicted) -> BatchOutcome {
        let Self { rows, terms, firings, .. } = self;
        BatchOutcome { rows, terms, firings, predicted }
    }
}
