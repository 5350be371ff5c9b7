//! Sums of one sequence, small enough to keep for every sequence of a cache.

use hayloft_runtime::Dtype;

use crate::columns::Columns;
use crate::kl::method::KlMethod;
use crate::kl::result::Kl;
use crate::kl::sums::KlSums;
use crate::sums::Sums;

/// Number of sums.
pub const TERMS: usize = 16;

/// Weighted sums over sequences, from which every metric is computed.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ResampledSums([f64; TERMS]);

/// The sums of one sequence, in 64 bytes. The relative error of float32, 1e-7, does not show in intervals.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SequenceSums([f32; TERMS]);

/// Index of a sum.
#[derive(Debug, Clone, Copy)]
#[repr(usize)]
enum Term {
    LossTokens,
    CleanLoss,
    SaeLoss,
    ZeroLoss,
    Kl,
    KlAblated,
    ActivationRows,
    Latents,
    L1,
    SquaredError,
    SquaredDeviation,
    ExplainedVariance,
    CosineSimilarity,
    L2Ratio,
    ReconstructionSquare,
    Product,
}

impl ResampledSums {
    /// Adds a sequence's sums, weighted by `times`.
    pub fn add(&mut self, tally: &SequenceSums, times: f64) {
        for (sum, &own) in self.0.iter_mut().zip(&tally.0) {
            *sum += times * f64::from(own);
        }
    }

    /// Computes the columns for a scale c.
    pub fn columns(&self, scale: f64) -> Columns {
        Columns::of(&self.sums(), scale)
    }

    /// Computes the divergences. Only the numbers are of use, not the method or the precisions.
    pub fn kl(&self) -> Kl {
        let tokens = self.get(Term::LossTokens) as u64;
        let sums = KlSums { tokens, kl: self.get(Term::Kl), kl_ablated: self.get(Term::KlAblated) };
        let rows = self.get(Term::ActivationRows) as u64;
        Kl::of(Some(sums), (tokens, rows), KlMethod::Recomputed, (Dtype::F32, Dtype::F32))
    }

    fn sums(&self) -> Sums {
        Sums {
            loss_tokens: self.get(Term::LossTokens) as u64,
            clean_loss: self.get(Term::CleanLoss),
            sae_loss: self.get(Term::SaeLoss),
            zero_loss: self.get(Term::ZeroLoss),
            activation_rows: self.get(Term::ActivationRows) as u64,
            latents: self.get(Term::Latents) as u64,
            l1: self.get(Term::L1),
            squared_error: self.get(Term::SquaredError),
            squared_deviation: self.get(Term::SquaredDeviation),
            explained_variance: self.get(Term::ExplainedVariance),
            cosine_similarity: self.get(Term::CosineSimilarity),
            l2_ratio: self.get(Term::L2Ratio),
            reconstruction_square: self.get(Term::ReconstructionSquare),
            product: self.get(Term::Product),
            ..Sums::default()
        }
    }

    fn get(&self, term: Term) -> f64 {
        self.0[term as usize]
    }
}

impl From<[f32; TERMS]> for SequenceSums {
    fn from(sums: [f32; TERMS]) -> Self {
        Self(sums)
    }
}

impl SequenceSums {
    /// Narrows the sums of one sequence.
    pub fn of(sums: &Sums) -> Self {
        let kl = sums.kl.unwrap_or_default();
        let mut tally = Self::default();
        for (term, sum) in [
            (Term::LossTokens, sums.loss_tokens as f64),
            (Term::CleanLoss, sums.clean_loss),
            (Term::SaeLoss, sums.sae_loss),
            (Term::ZeroLoss, sums.zero_loss),
            (Term::Kl, kl.kl),
            (Term::KlAblated, kl.kl_ablated),
            (Term::ActivationRows, sums.activation_rows as f64),
            (Term::Latents, sums.latents as f64),
            (Term::L1, sums.l1),
            (Term::SquaredError, sums.squared_error),
            (Term::SquaredDeviation, sums.squared_deviation),
            (Term::ExplainedVariance, sums.explained_variance),
            (Term::CosineSimilarity, sums.cosine_similarity),
            (Term::L2Ratio, sums.l2_ratio),
            (Term::ReconstructionSquare, sums.reconstruction_square),
            (Term::Product, sums.product),
        ] {
            tally.0[term as usize] = sum as f32;
        }
        tally
    }

    /// The sums, in the order of `Term`.
    pub fn values(&self) -> &[f32; TERMS] {
        &self.0
    }

    /// Whether any token of the sequence contributes to a metric.
    pub fn is_used(&self) -> bool {
        self.0[Term::LossTokens as usize] > 0.0 || self.activation_rows() > 0.0
    }

    /// Rows that metrics on activations cover.
    pub fn activation_rows(&self) -> f32 {
        self.0[Term::ActivationRows as usize]
    }

    /// Sets the sums that come from the baselines.
    pub fn complete(&mut self, clean_loss: f64, zero_loss: f64, kl_ablated: f64) {
        self.0[Term::CleanLoss as usize] = clean_loss as f32;
        self.0[Term::ZeroLoss as usize] = zero_loss as f32;
        self.0[Term::KlAblated as usize] = kl_ablated as f32;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A sequence of identical tokens.
    pub(crate) fn sequence(tokens: f32, sae_loss: f32, squared_error: f32) -> SequenceSums {
        let mut tally = SequenceSums::default();
        for (term, value) in [
            (Term::LossTokens, tokens),
            (Term::CleanLoss, 2.0 * tokens),
            (Term::SaeLoss, sae_loss),
            (Term::ZeroLoss, 10.0 * tokens),
            (Term::ActivationRows, tokens),
            (Term::Latents, 3.0 * tokens),
            (Term::SquaredError, squared_error),
            (Term::SquaredDeviation, 8.0 * tokens),
        ] {
            tally.0[term as usize] = value;
        }
        tally
    }

    #[test]
    fn a_tally_gives_the_figures_of_its_sums() {
        let mut tally = ResampledSums::default();
        tally.add(&sequence(4.0, 12.0, 8.0), 2.0);
        tally.add(&sequence(2.0, 12.0, 4.0), 1.0);
        tally.add(&sequence(2.0, 100.0, 100.0), 0.0);
        let columns = tally.columns(2.0);
        assert_eq!((columns.loss_tokens, columns.activation_rows), (10, 10));
        assert_eq!(
            (columns.l0, columns.ce_clean, columns.ce_sae, columns.ce_zero),
            (Some(3.0), Some(2.0), Some(3.6), Some(10.0))
        );
        assert_eq!((columns.ce_recovered, columns.mse, columns.mse_raw), (Some(0.8), Some(2.0), Some(0.5)));
        assert_eq!(columns.explained_variance_pooled, Some(0.75));
        assert_eq!(size_of::<SequenceSums>(), 64);
    }
}
