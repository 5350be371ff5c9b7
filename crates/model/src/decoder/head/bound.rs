//! Lower bounds of the KL divergence, from the largest logits of one distribution.

use super::online_softmax::{Detail, Row};

/// A row of logits of a changed run, compared with the largest logits c of the clean run and its logsumexp.
///
/// All other tokens are merged into one. By the log-sum inequality this does not increase the divergence: KL(p ‖ q) ≥ Σ p
/// (ln p − ln q) + r (ln r − ln s). The sum runs over the largest logits of c; r and s are the probabilities that p and q
/// leave to the other tokens.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    changed: Row,
    /// The largest logits of c, sorted by token.
    largest: Vec<(u32, f32)>,
    /// The logits of the changed run at these tokens, as far as they have been seen.
    changed_logits: Vec<f32>,
    /// The logsumexp of c.
    logsumexp: f32,
}

/// Rounding error of a probability near 1.
const ROUNDING: f64 = f32::EPSILON as f64;

impl Bound {
    /// `ids` and `logits` are the largest logits of the clean run, in any order.
    pub(super) fn new(label: i64, ids: &[u32], logits: &[f32], logsumexp: f32) -> Self {
        let mut largest: Vec<(u32, f32)> = ids.iter().copied().zip(logits.iter().copied()).collect();
        largest.sort_unstable_by_key(|&(token, _)| token);
        let changed_logits = Vec::with_capacity(largest.len());
        Self { changed: Row::new(label, Detail::Loss), largest, changed_logits, logsumexp }
    }

    /// Adds the changed run's logits of the tokens from `first` on. Tiles come in the order of the tokens.
    #[inline(always)]
    pub(super) fn add(&mut self, first: usize, changed: &[f32]) {
        self.changed.add(first, changed);
        while let Some(&(token, _)) = self.largest.get(self.changed_logits.len())
            && let Some(&logit) = (token as usize).checked_sub(first).and_then(|place| changed.get(place))
        {
            self.changed_logits.push(logit);
        }
    }

    /// Loss of the changed run, nats. NaN without a label.
    pub(super) fn loss(&self) -> f32 {
        self.changed.loss()
    }

    /// Lower bound of KL(clean ‖ changed), nats. The logsumexp of c is float32, with steps of up to 2e-6, so that the bound
    /// is accurate to about 1e-5 nats plus a relative 1e-6.
    pub(super) fn kl(&self) -> f64 {
        let normaliser = self.changed.exact_logsumexp();
        let (mut rest, mut changed_rest, mut sum) = (1.0, 1.0, 0.0);
        for (&(_, logit), &changed) in self.largest.iter().zip(&self.changed_logits) {
            let (log_p, log_q) = (f64::from(logit) - f64::from(self.logsumexp), f64::from(changed) - normaliser);
            rest -= log_p.exp();
            changed_rest -= log_q.exp();
            sum += log_p.exp() * (log_p - log_q);
        }
        // If only rounding is left of r, the term r (ln r − ln s) is zero. A larger s lowers the bound, which therefore
        // holds even if rounding has wiped out s.
        let of_rest = if rest <= ROUNDING { 0.0 } else { rest * (rest / changed_rest.max(ROUNDING)).ln() };
        if changed_rest.is_nan() { f64::NAN } else { sum + of_rest }
    }
}

#[cfg(test)]
mod tests {
    use super::super::divergence::tests::{by_definition, logits};
    use super::*;

    fn bound(clean: &[f32], changed: &[f32], k: usize, piece: usize) -> Bound {
        let mut row = Row::new(-1, Detail::Full(k));
        row.add(0, clean);
        let (largest, ids): (Vec<f32>, Vec<u32>) = row.largest.clone().finish().into_iter().unzip();
        let mut bound = Bound::new(5, &ids, &largest, row.logsumexp());
        for (index, changed) in changed.chunks(piece).enumerate() {
            bound.add(index * piece, changed);
        }
        bound
    }

    #[test]
    fn it_is_never_above_the_divergence_and_rises_to_it() {
        for by in [0.1, 1.0, 10.0] {
            let (clean, changed) = logits(1003, by);
            let exact = by_definition(&clean, &changed);
            let bounds = [1, 8, 64, 512, 1003].map(|k| bound(&clean, &changed, k, 100).kl());
            assert!(bounds[0] > -1e-6 && bounds.windows(2).all(|two| two[0] <= two[1] + 1e-6), "{bounds:?}");
            assert!((bounds[4] - exact).abs() < 2e-6 + 2e-6 * exact, "{bounds:?}, exact {exact}");
        }
    }

    #[test]
    fn it_is_the_divergence_of_the_coarser_distributions() {
        // p = (1/2, 1/4, 1/8, 1/8), q uniform; only the sum of the last two is known.
        let clean = [4f32.ln(), 2f32.ln(), 0.0, 0.0];
        let got = bound(&clean, &[1.0; 4], 2, 3).kl();
        let expected = 0.5 * 2f64.ln() + 0.25 * 1f64.ln() + 0.25 * (0.25f64 / 0.5).ln();
        assert!((got - expected).abs() < 1e-6, "{got}, expected {expected}");
    }

    #[test]
    fn the_loss_is_the_rows_own_and_nan_stays() {
        let (clean, changed) = logits(1003, 2.0);
        let mut row = Row::new(5, Detail::Loss);
        row.add(0, &changed);
        assert_eq!(bound(&clean, &changed, 9, 1003).loss().to_bits(), row.loss().to_bits());
        let mut spoilt = changed;
        spoilt[7] = f32::NAN;
        assert!(bound(&clean, &spoilt, 9, 1003).kl().is_nan());
    }
}
