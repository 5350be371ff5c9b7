//! Streaming KL divergence of a changed run from the clean run.

use super::exponential::{LOWEST, exponential};
use super::online_softmax::{Detail, LANES, Row, largest_of};

/// Two rows of logits at one token: c of the clean run and s of a changed run.
///
/// With predicted distributions p and q, KL(p ‖ q) = Σ p (ln p − ln q). Relative to the largest logits so far, b = c − max c
/// and d = s − max s, this is Σ e^b (b − d) / Σ e^b + ln(Σ e^d / Σ e^b). Where the runs agree, b and d are the same small
/// numbers and nothing large cancels. Terms are float32 and sums float64, for a rounding error of about 1e-7 nats per token;
/// the result may be below zero by as much.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    /// The row of the changed run. Its loss has the same bits as outside a pair.
    changed: Row,
    /// Σ e^d, summed in float64 throughout, unlike the row's sum.
    changed_sum: f64,
    /// max c.
    largest_logit: f32,
    /// Σ e^b.
    sum: f64,
    /// Σ e^b (b − d).
    moment: f64,
}

/// Sums over one tile.
struct Sums {
    /// Σ e^d, summed as for the loss.
    loss: f64,
    changed: f64,
    clean: f64,
    moment: f64,
}

impl Pair {
    pub(super) fn new(label: i64) -> Self {
        Self {
            changed: Row::new(label, Detail::Loss),
            changed_sum: 0.0,
            largest_logit: f32::NEG_INFINITY,
            sum: 0.0,
            moment: 0.0,
        }
    }

    /// Adds both runs' logits of the tokens from `first` on.
    #[inline(always)]
    pub(super) fn add(&mut self, first: usize, clean: &[f32], changed: &[f32]) {
        let before = (f64::from(self.largest_logit), f64::from(self.changed.largest_logit()));
        self.largest_logit = largest_of(clean).max(self.largest_logit);
        // A run without a largest logit yet has only logits of −∞, for which any reference value will do.
        let met = self.changed.meet(first, changed);
        let changed_largest = met.unwrap_or(0.0);
        let largest = if self.largest_logit > f32::NEG_INFINITY { self.largest_logit } else { 0.0 };
        let moved = |from: f64, to: f32| if from.is_finite() { from - f64::from(to) } else { 0.0 };
        let (own, other) = (moved(before.0, largest), moved(before.1, changed_largest));
        self.moment = (self.moment + (own - other) * self.sum) * own.exp();
        self.sum *= own.exp();
        self.changed_sum *= other.exp();
        let sums = sums(clean, changed, largest, changed_largest);
        if met.is_some() {
            self.changed.add_sum(sums.loss);
        }
        self.changed_sum += sums.changed;
        self.sum += sums.clean;
        self.moment += sums.moment;
    }

    /// Loss of the changed run, nats. NaN without a label.
    pub(super) fn loss(&self) -> f32 {
        self.changed.loss()
    }

    /// KL(clean ‖ changed), nats.
    pub(super) fn kl(&self) -> f64 {
        self.moment / self.sum + (self.changed_sum / self.sum).ln()
    }
}

#[inline(always)]
fn sums(clean: &[f32], changed: &[f32], largest: f32, changed_largest: f32) -> Sums {
    let mut loss_lanes = [0.0f32; LANES];
    let (mut changed_lanes, mut lanes, mut moment_lanes) = ([0.0f64; LANES], [0.0f64; LANES], [0.0f64; LANES]);
    let (chunks, rest) = clean.as_chunks::<LANES>();
    let (changed_chunks, changed_rest) = changed.as_chunks::<LANES>();
    for (chunk, changed) in chunks.iter().zip(changed_chunks) {
        for lane in 0..LANES {
            let (p, q, term) = weighted_difference(chunk[lane] - largest, changed[lane] - changed_largest);
            loss_lanes[lane] += q;
            changed_lanes[lane] += f64::from(q);
            lanes[lane] += f64::from(p);
            moment_lanes[lane] += f64::from(term);
        }
    }
    let mut sums = Sums {
        loss: loss_lanes.iter().map(|&lane| f64::from(lane)).sum(),
        changed: changed_lanes.iter().sum(),
        clean: lanes.iter().sum(),
        moment: moment_lanes.iter().sum(),
    };
    for (&logit, &changed) in rest.iter().zip(changed_rest) {
        let (p, q, term) = weighted_difference(logit - largest, changed - changed_largest);
        sums.loss += f64::from(q);
        sums.changed += f64::from(q);
        sums.clean += f64::from(p);
        sums.moment += f64::from(term);
    }
    sums
}

/// e^b, e^d and e^b (b − d). A token with probability zero in the clean run contributes nothing, regardless of the changed
/// run. A token with probability zero in the changed run alone makes the divergence infinite.
#[inline(always)]
fn weighted_difference(below: f32, changed_below: f32) -> (f32, f32, f32) {
    let (p, q) = (exponential(below), exponential(changed_below));
    let term = p * (below - changed_below);
    (p, q, if below < LOWEST { 0.0 } else { term })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Logits, and a second set that differs by up to `by`.
    pub(crate) fn logits(count: usize, by: f32) -> (Vec<f32>, Vec<f32>) {
        let wave = |token: usize, step: usize| ((token * step % 1013) as f32 / 40.0).sin();
        let clean: Vec<f32> = (0..count).map(|token| wave(token, 7919) * 9.0 + 3.0).collect();
        let changed = clean.iter().enumerate().map(|(token, logit)| logit + by * wave(token, 104_729)).collect();
        (clean, changed)
    }

    /// The definition, in float64.
    pub(crate) fn by_definition(clean: &[f32], changed: &[f32]) -> f64 {
        let logsumexp = |logits: &[f32]| logits.iter().map(|&logit| f64::from(logit).exp()).sum::<f64>().ln();
        let (normaliser, changed_normaliser) = (logsumexp(clean), logsumexp(changed));
        let term = |(&logit, &changed): (&f32, &f32)| {
            let (log_p, log_q) = (f64::from(logit) - normaliser, f64::from(changed) - changed_normaliser);
            log_p.exp() * (log_p - log_q)
        };
        clean.iter().zip(changed).map(term).sum()
    }

    fn in_pieces(clean: &[f32], changed: &[f32], piece: usize) -> Pair {
        let mut pair = Pair::new(5);
        for (index, (clean, changed)) in clean.chunks(piece).zip(changed.chunks(piece)).enumerate() {
            pair.add(index * piece, clean, changed);
        }
        pair
    }

    #[test]
    fn it_is_the_divergence_of_float64_in_any_pieces() {
        for by in [1e-3, 0.1, 1.0, 10.0] {
            let (clean, changed) = logits(1003, by);
            let expected = by_definition(&clean, &changed);
            for piece in [1, 16, 17, 300, 1003] {
                let kl = in_pieces(&clean, &changed, piece).kl();
                assert!(
                    (kl - expected).abs() < 1e-7 + 1e-6 * expected,
                    "by {by} in {piece}: {kl}, expected {expected}"
                );
            }
        }
    }

    #[test]
    fn a_constant_added_to_all_logits_changes_nothing() {
        let (clean, changed) = logits(1003, 0.1);
        let raised: Vec<f32> = changed.iter().map(|logit| logit + 64.0).collect();
        let expected = by_definition(&clean, &raised);
        let kl = in_pieces(&clean, &raised, 64).kl();
        assert!((kl - expected).abs() < 1e-7 + 1e-6 * expected, "{kl}, expected {expected}");
    }

    #[test]
    fn a_run_does_not_diverge_from_itself() {
        let (clean, _) = logits(1003, 0.0);
        for piece in [1, 16, 300] {
            assert!(in_pieces(&clean, &clean, piece).kl().abs() < 1e-15);
        }
    }

    #[test]
    fn the_loss_has_the_bits_that_it_has_alone() {
        let (clean, changed) = logits(1003, 2.0);
        for piece in [16, 100, 1003] {
            let mut row = Row::new(5, Detail::Loss);
            for (index, changed) in changed.chunks(piece).enumerate() {
                row.add(index * piece, changed);
            }
            assert_eq!(in_pieces(&clean, &changed, piece).loss().to_bits(), row.loss().to_bits());
        }
    }

    #[test]
    fn what_is_ruled_out_counts_for_nothing_or_is_infinitely_far() {
        let out = f32::NEG_INFINITY;
        let two = 2f64.ln();
        for piece in [1, 2, 4] {
            let kl = in_pieces(&[out, 1.0, out, out], &[out, 1.0, 1.0, out], piece).kl();
            assert!((kl - two).abs() < 1e-7, "{kl}");
            let kl = in_pieces(&[1.0, 1.0, out, out], &[1.0, out, out, out], piece).kl();
            assert!(kl.is_infinite() && kl > 0.0, "{kl}");
            assert!(in_pieces(&[1.0, f32::NAN, 2.0, 1.0], &[1.0; 4], piece).kl().is_nan());
            assert!(in_pieces(&[1.0; 4], &[1.0, f32::NAN, 2.0, 1.0], piece).kl().is_nan());
        }
    }
}
