//! Streaming statistics of a row of logits, over tiles of the vocabulary.

use super::exponential::exponential;
use super::largest::Largest;

/// Number of partial sums, for vectorised addition.
pub(super) const LANES: usize = 16;

/// Which statistics to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// Logsumexp and the label's logit.
    Loss,
    /// These, the entropy, and this many of the largest logits.
    Full(usize),
}

/// A row of logits: the largest logit m, and sums relative to it.
#[derive(Debug, Clone)]
pub(super) struct Row {
    label: Option<usize>,
    detail: Detail,
    label_logit: f32,
    largest_logit: f32,
    /// Σ e^(x − m).
    sum: f64,
    /// Σ (x − m) e^(x − m).
    moment: f64,
    pub(super) largest: Largest,
}

impl Row {
    pub(super) fn new(label: i64, detail: Detail) -> Self {
        let top_k = if let Detail::Full(top_k) = detail { top_k } else { 0 };
        Self {
            label: usize::try_from(label).ok(),
            detail,
            label_logit: f32::NAN,
            largest_logit: f32::NEG_INFINITY,
            sum: 0.0,
            moment: 0.0,
            largest: Largest::new(top_k),
        }
    }

    /// Adds the logits of the tokens from `first` on. Sums within a call use float32 lanes; sums over calls are float64.
    #[inline(always)]
    pub(super) fn add(&mut self, first: usize, logits: &[f32]) {
        let Some(largest) = self.meet(first, logits) else { return };
        match self.detail {
            Detail::Loss => self.sum += sums::<false>(logits, largest).0,
            Detail::Full(_) => {
                let (sum, moment) = sums::<true>(logits, largest);
                self.sum += sum;
                self.moment += moment;
                self.largest.add(first as u32, logits);
            }
        }
    }

    /// For callers that sum the terms themselves: records the label's logit, rescales the sums to the new largest logit and
    /// returns it. `None` if there is nothing to sum.
    #[inline(always)]
    pub(super) fn meet(&mut self, first: usize, logits: &[f32]) -> Option<f32> {
        if let Some(label) = self.label.and_then(|label| label.checked_sub(first))
            && let Some(&logit) = logits.get(label)
        {
            self.label_logit = logit;
        }
        let largest = largest_of(logits).max(self.largest_logit);
        if largest == f32::NEG_INFINITY && !logits.iter().any(|logit| logit.is_nan()) {
            return None; // all probabilities are zero, and there is no largest logit to relate them to
        }
        if largest > self.largest_logit && self.sum > 0.0 {
            let moved = f64::from(self.largest_logit) - f64::from(largest);
            self.moment = (self.moment + moved * self.sum) * moved.exp();
            self.sum *= moved.exp();
        }
        self.largest_logit = largest;
        Some(largest)
    }

    /// Adds to Σ e^(x − m), where m is the largest logit returned by [`meet`](Self::meet).
    #[inline(always)]
    pub(super) fn add_sum(&mut self, sum: f64) {
        self.sum += sum;
    }

    /// The largest logit so far. −∞ before the first.
    #[inline(always)]
    pub(super) fn largest_logit(&self) -> f32 {
        self.largest_logit
    }

    /// ln Σ e^x in float64.
    pub(super) fn exact_logsumexp(&self) -> f64 {
        f64::from(self.largest_logit) + self.sum.ln()
    }

    /// ln Σ e^x.
    pub(super) fn logsumexp(&self) -> f32 {
        self.exact_logsumexp() as f32
    }

    /// Negative log-probability of the label, nats. NaN without a label.
    pub(super) fn loss(&self) -> f32 {
        (f64::from(self.largest_logit) - f64::from(self.label_logit) + self.sum.ln()) as f32
    }

    /// −Σ p ln p, nats: logsumexp minus the expected logit under p.
    pub(super) fn entropy(&self) -> f32 {
        (self.sum.ln() - self.moment / self.sum) as f32
    }
}

#[inline(always)]
pub(super) fn largest_of(logits: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = logits.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &logit) in lanes.iter_mut().zip(chunk) {
            *lane = if logit > *lane { logit } else { *lane };
        }
    }
    lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max)
}

/// Σ e^(x − m) and, if requested, Σ (x − m) e^(x − m).
#[inline(always)]
fn sums<const MOMENT: bool>(logits: &[f32], largest: f32) -> (f64, f64) {
    let (mut sum, mut moment) = ([0.0f32; LANES], [0.0f32; LANES]);
    let (chunks, rest) = logits.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            let below = chunk[lane] - largest;
            let term = exponential(below);
            sum[lane] += term;
            if MOMENT {
                moment[lane] += below.max(-1e4) * term;
            }
        }
    }
    let add = |lanes: [f32; LANES]| lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>();
    let (mut sum, mut moment) = (add(sum), add(moment));
    for &logit in rest {
        let below = logit - largest;
        let term = f64::from(exponential(below));
        sum += term;
        moment += f64::from(below.max(-1e4)) * term;
    }
    (sum, moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_pieces(logits: &[f32], label: i64, piece: usize) -> Row {
        let mut row = Row::new(label, Detail::Full(3));
        for (index, logits) in logits.chunks(piece).enumerate() {
            row.add(index * piece, logits);
        }
        row
    }

    #[test]
    fn it_is_the_log_softmax_of_float64_in_any_pieces() {
        let logits: Vec<f32> = (0..1000).map(|token| ((token * 7919 % 1013) as f32 / 40.0).sin() * 20.0).collect();
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exponentials = || logits.iter().map(|&logit| f64::from(logit - largest).exp());
        let logsumexp = f64::from(largest) + exponentials().sum::<f64>().ln();
        let log_p = |logit: f32| f64::from(logit) - logsumexp;
        let entropy: f64 = -logits.iter().map(|&logit| log_p(logit).exp() * log_p(logit)).sum::<f64>();
        for piece in [1, 16, 17, 300, 1000] {
            let row = in_pieces(&logits, 421, piece);
            assert!((f64::from(row.logsumexp()) - logsumexp).abs() < 3e-6);
            assert!((f64::from(row.loss()) + log_p(logits[421])).abs() < 6e-6);
            assert!((f64::from(row.entropy()) - entropy).abs() < 3e-6);
            assert_eq!(row.largest.clone().finish()[0].0.to_bits(), largest.to_bits());
        }
    }

    #[test]
    fn without_a_label_and_with_nan_there_is_no_loss() {
        assert!(in_pieces(&[1.0, 2.0], -1, 2).loss().is_nan());
        let spoilt = in_pieces(&[1.0, f32::NAN, 3.0], 0, 2);
        assert!(spoilt.loss().is_nan() && spoilt.logsumexp().is_nan());
    }

    #[test]
    fn tokens_that_are_ruled_out_count_for_nothing() {
        let row = in_pieces(&[f32::NEG_INFINITY, 0.5, f32::NEG_INFINITY], 1, 1);
        assert!(row.loss().abs() < 1e-7 && row.entropy().abs() < 1e-7);
    }
}
