//! Choice of a token from a row of logits.

use std::cmp::Ordering;

use super::random::uniform;
use super::sampling::Sampling;

/// Twice the error of a logit that could change a choice. Reordered float32 computations of a logit agree to a tenth of that
/// error on every tested model.
const CLOSE: f64 = 4e-4;

/// Number of tokens ranked at first. A nucleus is rarely larger.
const FIRST_RANKED: usize = 128;

/// A chosen token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) token: u32,
    pub(super) margin: Margin,
}

/// Whether rounding could change the choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Margin {
    /// Rounding cannot change it.
    Wide,
    /// Rounding could change it.
    Close,
}

/// Chooses from logits `[vocab]` the token of draw number `draw` of `row`. `spread` scales the assumed rounding error of the
/// logits. Returns `None` if a logit is NaN or none is finite.
pub(super) fn choose(logits: &[f32], sampling: Sampling, (row, draw): (u64, u64), spread: f64) -> Option<Choice> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if !largest.is_finite() || logits.iter().any(|logit| logit.is_nan()) {
        return None;
    }
    let close = CLOSE * spread;
    Some(match sampling {
        Sampling::Greedy => greedy(logits, close),
        Sampling::Random { temperature, top_p, seed } => {
            Ranking::new(logits, largest, temperature, close).draw(top_p, uniform(seed, row, draw))
        }
    })
}

fn greedy(logits: &[f32], close: f64) -> Choice {
    let (mut token, mut best, mut second) = (0, f32::NEG_INFINITY, f32::NEG_INFINITY);
    for (id, &logit) in logits.iter().enumerate() {
        if logit > best {
            second = best;
            (token, best) = (id as u32, logit);
        } else if logit > second {
            second = logit;
        }
    }
    Choice { token, margin: margin(f64::from(best) - f64::from(second) < close) }
}

fn margin(is_close: bool) -> Margin {
    if is_close { Margin::Close } else { Margin::Wide }
}

/// The tokens that may be drawn.
struct Nucleus {
    /// Number of tokens, from the most likely on.
    kept: usize,
    /// Sum of their weights.
    mass: f64,
    /// Weight of the last token if rounding could decide whether it, or the next one, is included; else 0. The possible
    /// error of the mass.
    edge: f64,
}

/// Tokens by descending probability, sorted lazily.
struct Ranking<'logits> {
    logits: &'logits [f32],
    largest: f64,
    temperature: f64,
    /// Twice the error of a logit that could change the choice.
    close: f64,
    /// All ids. The first `sorted` are the most likely, in order.
    ids: Vec<u32>,
    sorted: usize,
}

impl<'logits> Ranking<'logits> {
    fn new(logits: &'logits [f32], largest: f32, temperature: f64, close: f64) -> Self {
        let ids = (0..logits.len() as u32).collect();
        Self { logits, largest: f64::from(largest), temperature, close, ids, sorted: 0 }
    }

    /// Probability of a token relative to the most likely one.
    fn weight(&self, id: u32) -> f64 {
        ((f64::from(self.logits[id as usize]) - self.largest) / self.temperature).exp()
    }

    /// The id at a rank. `None` beyond the last.
    fn get(&mut self, rank: usize) -> Option<u32> {
        let count = self.ids.len();
        if rank >= self.sorted && self.sorted < count {
            let sorted = (4 * self.sorted).max(FIRST_RANKED).max(rank + 1).min(count);
            let logits = self.logits;
            let order = |left: &u32, right: &u32| {
                let by_logit = logits[*right as usize].partial_cmp(&logits[*left as usize]);
                by_logit.unwrap_or(Ordering::Equal).then(left.cmp(right)) // no logit is NaN
            };
            if sorted < count {
                self.ids.select_nth_unstable_by(sorted, order);
            }
            self.ids[..sorted].sort_unstable_by(order);
            self.sorted = sorted;
        }
        self.ids.get(rank).copied()
    }

    /// Draws the token at which the cumulative weight exceeds `uniform` times the nucleus's mass.
    fn draw(mut self, top_p: f64, uniform: f64) -> Choice {
        let total: f64 = (0..self.logits.len() as u32).map(|id| self.weight(id)).sum();
        let Nucleus { kept, mass, edge } = self.nucleus(top_p, total);
        let target = uniform * mass;
        let (mut chosen, mut reached) = (0, 0.0);
        let mut close = false;
        for rank in 0..kept {
            let Some(weight) = self.get(rank).map(|id| self.weight(id)) else { break };
            if weight == 0.0 {
                break; // as are all later ones; rounding has kept the sum below the target
            }
            chosen = rank;
            let before = reached;
            reached += weight;
            if reached > target {
                close = target - before < self.slack(before, mass) + edge
                    || reached - target < self.slack(reached, mass) + edge;
                break;
            }
        }
        // Two equally likely tokens may trade places.
        close |= chosen > 0 && self.gap(chosen - 1) < self.close || self.gap(chosen) < self.close;
        let token = self.get(chosen).unwrap_or(0);
        Choice { token, margin: margin(close) }
    }

    /// The smallest set of most likely tokens whose weights reach `top_p` times the total.
    fn nucleus(&mut self, top_p: f64, total: f64) -> Nucleus {
        let mut nucleus = Nucleus { kept: self.ids.len(), mass: total, edge: 0.0 };
        if top_p < 1.0 {
            let wanted = top_p * total;
            (nucleus.kept, nucleus.mass) = (0, 0.0);
            while nucleus.mass < wanted {
                let Some(id) = self.get(nucleus.kept) else { break };
                let (before, weight) = (nucleus.mass, self.weight(id));
                nucleus.kept += 1;
                nucleus.mass += weight;
                let close = wanted - before < self.slack(before, total)
                    || nucleus.mass - wanted < self.slack(nucleus.mass, total);
                nucleus.edge = if close { weight } else { 0.0 };
            }
        }
        nucleus
    }

    /// Error bound of a cumulative weight `part` relative to a fixed `whole`. If logits are off by at most half of `close`,
    /// `part / whole` is off by at most `close / temperature` times `part / whole * (1 - part / whole)`, to first order.
    fn slack(&self, part: f64, whole: f64) -> f64 {
        self.close / self.temperature * part * (1.0 - part / whole).max(0.0)
    }

    /// Difference between the logit at a rank and the next one.
    fn gap(&mut self, rank: usize) -> f64 {
        match (self.get(rank), self.get(rank + 1)) {
            (Some(left), Some(right)) => f64::from(self.logits[left as usize]) - f64::from(self.logits[right as usize]),
            _ => f64::INFINITY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOCABULARY: usize = 1000;

    /// Distinct logits, distributed like those of a language model.
    fn logits() -> Vec<f32> {
        (0..VOCABULARY)
            .map(|id| (6.0 * uniform(7, id as u64, 0).powi(2) + 4.0 * uniform(7, id as u64, 1)) as f32)
            .collect()
    }

    fn random(temperature: f64, top_p: f64, seed: u64) -> Sampling {
        Sampling::Random { temperature, top_p, seed }
    }

    fn token(logits: &[f32], sampling: Sampling, row: u64) -> u32 {
        choose(logits, sampling, (row, 0), 1.0).unwrap().token
    }

    /// The nucleus's probabilities by definition, with a full sort.
    fn nucleus(logits: &[f32], temperature: f64, top_p: f64) -> Vec<(u32, f64)> {
        let weights: Vec<f64> = logits.iter().map(|&logit| (f64::from(logit) / temperature).exp()).collect();
        let total: f64 = weights.iter().sum();
        let mut ranked: Vec<(u32, f64)> = weights.iter().enumerate().map(|(id, w)| (id as u32, w / total)).collect();
        ranked.sort_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
        let mut mass = 0.0;
        ranked.retain(|(_, probability)| {
            let kept = mass < top_p;
            mass += probability;
            kept
        });
        let kept: f64 = ranked.iter().map(|(_, probability)| probability).sum();
        ranked.into_iter().map(|(id, probability)| (id, probability / kept)).collect()
    }

    #[test]
    fn frequencies_are_the_exact_probabilities_of_the_nucleus() {
        let logits = logits();
        for (temperature, top_p) in [(1.0, 0.9), (0.7, 0.5), (1.5, 1.0), (0.3, 0.999)] {
            const DRAWS: u64 = 20_000;
            let mut counts = vec![0_u64; VOCABULARY];
            for row in 0..DRAWS {
                counts[token(&logits, random(temperature, top_p, 42), row) as usize] += 1;
            }
            let expected = nucleus(&logits, temperature, top_p);
            let inside: u64 = expected.iter().map(|(id, _)| counts[*id as usize]).sum();
            assert_eq!(inside, DRAWS, "a token outside the nucleus was drawn");
            // Rare tokens share one cell, as Pearson's test requires.
            let (mut chi_square, mut cells, mut rare) = (0.0, 0, (0.0, 0.0));
            for (id, probability) in expected {
                let (count, mean) = (counts[id as usize] as f64, probability * DRAWS as f64);
                if mean < 10.0 {
                    rare = (rare.0 + count, rare.1 + mean);
                } else {
                    chi_square += (count - mean).powi(2) / mean;
                    cells += 1;
                }
            }
            if rare.1 > 0.0 {
                chi_square += (rare.0 - rare.1).powi(2) / rare.1;
                cells += 1;
            }
            // Chi-square has mean n and variance 2n: the bound is four standard deviations.
            let degrees = f64::from(cells - 1);
            assert!(
                chi_square < degrees + 4.0 * (2.0 * degrees).sqrt(),
                "{temperature} {top_p}: {chi_square}, {degrees}"
            );
        }
    }

    #[test]
    fn a_tiny_nucleus_is_greedy() {
        let logits = logits();
        let greedy = token(&logits, Sampling::Greedy, 0);
        for row in 0..100 {
            assert_eq!(token(&logits, random(5.0, 1e-9, 3), row), greedy);
        }
    }

    #[test]
    fn the_whole_vocabulary_is_a_nucleus() {
        let flat = vec![0.5; 300];
        let seen: std::collections::BTreeSet<u32> =
            (0..20_000).map(|row| token(&flat, random(1.0, 1.0, 0), row)).collect();
        assert_eq!(seen.len(), 300);
    }

    #[test]
    fn of_equal_tokens_the_lowest_ids_are_kept() {
        let flat = vec![0.5; 300];
        let seen: std::collections::BTreeSet<u32> =
            (0..5_000).map(|row| token(&flat, random(1.0, 0.0999, 0), row)).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), (0..30).collect::<Vec<_>>());
        assert_eq!(token(&flat, Sampling::Greedy, 0), 0);
        assert_eq!(token(&[1.0, 3.0, 3.0], Sampling::Greedy, 0), 1);
    }

    #[test]
    fn a_token_that_cannot_be_is_never_drawn() {
        let logits = [f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY, 0.1];
        for row in 0..1000 {
            assert_eq!(token(&logits, random(1.0, 1.0, 9), row) % 2, 1);
        }
    }

    #[test]
    fn choices_that_rounding_could_turn_are_close() {
        let margin = |logits: &[f32], sampling| choose(logits, sampling, (0, 0), 1.0).unwrap().margin;
        assert_eq!(margin(&[1.0, 1.0001], Sampling::Greedy), Margin::Close);
        assert_eq!(margin(&[1.0, 1.001], Sampling::Greedy), Margin::Wide);
        // Scaling the logits scales their error.
        assert_eq!(choose(&[1.0, 1.001], Sampling::Greedy, (0, 0), 3.0).unwrap().margin, Margin::Close);
        // Errors below half of the bound change no choice with a wide margin.
        let logits = logits();
        let sampling = random(0.8, 0.9, 5);
        let mut wide = 0;
        for row in 0..5_000 {
            let offset = |id: usize| (uniform(1, row, id as u64) - 0.5) as f32 * 3.6e-4;
            let disturbed: Vec<f32> = logits.iter().enumerate().map(|(id, logit)| logit + offset(id)).collect();
            let (plain, noisy) = (
                choose(&logits, sampling, (row, 0), 1.0).unwrap(),
                choose(&disturbed, sampling, (row, 0), 1.0).unwrap(),
            );
            if plain.margin == Margin::Wide && noisy.margin == Margin::Wide {
                assert_eq!(plain.token, noisy.token);
                wide += 1;
            }
        }
        assert!(wide > 4_500, "only {wide} of 5000 choices are wide: others are made twice");
    }

    #[test]
    fn logits_that_are_none_make_no_choice() {
        for logits in [[f32::NAN, 1.0], [1.0, f32::NAN], [f32::INFINITY, 1.0], [f32::NEG_INFINITY; 2]] {
            assert_eq!(choose(&logits, Sampling::Greedy, (0, 0), 1.0), None);
        }
    }
}
