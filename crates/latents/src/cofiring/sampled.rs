//! Counts of pairs over a sample of tokens.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::{CoFiring, Strongest};
use crate::batch::BatchRows;
use crate::priority::Priorities;

/// About so many tokens are in the sample.
const SAMPLE_TOKENS: u64 = 1 << 16;

/// Bound on the sum over the sample's tokens of the squared number of latents that fire, which counting is proportional to.
const MOST_PAIRS: u64 = 1 << 30;

/// Index of a row that is not in the sample.
const NONE: u32 = u32::MAX;

/// A uniform sample of tokens with the latents that fire at them.
///
/// A token is in the sample if its number of [`Priorities`] is below 2¹⁶/n · 2⁶⁴ for a cache of n tokens. If too many latents
/// fire for all of these, it is the tokens with the smallest numbers, as many as fit.
#[derive(Debug)]
pub(crate) struct TokenSample {
    width: usize,
    priorities: Priorities,
    /// Numbers below this are in the sample.
    cut: u64,
    tokens: Mutex<Tokens>,
}

/// Place of a token in the order of the sample: its number, sequence and position.
type Order = (u64, u64, u32);

#[derive(Debug, Default)]
struct Tokens {
    /// The latents of each token, in ascending order.
    latents: BTreeMap<Order, Box<[u32]>>,
    /// The sum of the squares of their numbers.
    pairs: u64,
}

/// The firings of one batch at tokens of the sample.
#[derive(Debug)]
pub(crate) struct SampledBatch<'run> {
    sample: &'run TokenSample,
    /// For each kept row, its index in `tokens`, or [`NONE`].
    places: Vec<u32>,
    tokens: Vec<(Order, Vec<u32>)>,
}

impl TokenSample {
    pub(super) fn new(width: usize, tokens: u64, seed: u64) -> Self {
        let cut = if tokens <= SAMPLE_TOKENS {
            u64::MAX
        } else {
            ((u128::from(SAMPLE_TOKENS) << u64::BITS) / u128::from(tokens)) as u64
        };
        Self { width, priorities: Priorities::of_tokens(seed), cut, tokens: Mutex::default() }
    }

    pub(super) fn batch(&self, rows: &BatchRows<'_>) -> SampledBatch<'_> {
        let mut tokens = Vec::new();
        let mut place = |&row: &u32| {
            let (sequence, position) = rows.labels.place(row);
            let number = self.priorities.at(sequence, position);
            if number >= self.cut && self.cut < u64::MAX {
                return NONE;
            }
            tokens.push(((number, sequence, position), Vec::new()));
            tokens.len() as u32 - 1
        };
        let places = rows.rows().iter().map(&mut place).collect();
        SampledBatch { sample: self, places, tokens }
    }

    /// Number of tokens in the sample.
    pub(super) fn tokens(&self) -> u64 {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).latents.len() as u64
    }

    pub(super) fn finish(self, most: usize) -> Vec<Vec<CoFiring>> {
        let tokens = self.tokens.into_inner().unwrap_or_else(PoisonError::into_inner);
        let tokens: Vec<Box<[u32]>> = tokens.latents.into_values().collect();
        // The tokens of each latent.
        let mut of_latents = vec![Vec::new(); self.width];
        for (token, latents) in (0u32..).zip(&tokens) {
            for &latent in latents {
                of_latents[latent as usize].push(token);
            }
        }
        let firings: Vec<u64> = of_latents.iter().map(|tokens| tokens.len() as u64).collect();
        let count = |(counts, seen): &mut (Vec<u32>, Vec<u32>), latent: usize| {
            for &token in &of_latents[latent] {
                for &other in &tokens[token as usize] {
                    if counts[other as usize] == 0 {
                        seen.push(other);
                    }
                    counts[other as usize] += 1;
                }
            }
            let mut strongest = Strongest::of(firings[latent], most);
            for other in seen.drain(..) {
                let together = u64::from(std::mem::take(&mut counts[other as usize]));
                if other as usize != latent {
                    strongest.offer(other, together, || firings[other as usize]);
                }
            }
            strongest.others
        };
        let scratch = || (vec![0u32; self.width], Vec::new());
        (0..self.width).into_par_iter().map_init(scratch, count).collect()
    }
}

impl SampledBatch<'_> {
    pub(super) fn add(&mut self, latent: u32, rows: impl Iterator<Item = u32>) {
        for row in rows {
            let place = self.places[row as usize];
            if place != NONE {
                self.tokens[place as usize].1.push(latent);
            }
        }
    }

    pub(super) fn finish(self) {
        if self.tokens.is_empty() {
            return;
        }
        let mut tokens = self.sample.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        for (order, latents) in self.tokens {
            tokens.pairs += (latents.len() as u64).pow(2);
            tokens.latents.insert(order, latents.into());
            // What is left out stays out: further tokens only add to the sum before it.
            while tokens.pairs > MOST_PAIRS && tokens.latents.len() > 1 {
                let Some((_, last)) = tokens.latents.pop_last() else { break };
                tokens.pairs -= (last.len() as u64).pow(2);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::RowLabels;

    /// The sample of a cache of one sequence, in which `fire` latents fire at each token. The last batch comes first.
    fn sample_of(tokens: u32, fire: u32, borders: &[u32]) -> TokenSample {
        let labels = RowLabels::new([(3, tokens)].into_iter(), Vec::new());
        let sample = TokenSample::new(fire as usize, u64::from(tokens), 5);
        for pair in borders.windows(2).rev() {
            let rows: Vec<i64> = (pair[0]..pair[1]).map(i64::from).collect();
            let mut batch = sample.batch(&BatchRows::new(&labels, &rows));
            for latent in 0..fire {
                batch.add(latent, 0..rows.len() as u32);
            }
            batch.finish();
        }
        sample
    }

    fn orders(sample: &TokenSample) -> Vec<Order> {
        sample.tokens.lock().unwrap().latents.keys().copied().collect()
    }

    #[test]
    fn a_sample_has_about_so_many_tokens_whatever_the_batches() {
        let tokens = 4 << 16;
        let whole = sample_of(tokens, 1, &[0, tokens]);
        let count = whole.tokens();
        assert!(count.abs_diff(SAMPLE_TOKENS) < 2000, "{count}");
        let parts = sample_of(tokens, 1, &[0, 1000, 100_000, tokens]);
        assert_eq!(orders(&parts), orders(&whole));
    }

    #[test]
    fn tokens_at_which_too_many_latents_fire_are_fewer_whatever_the_batches() {
        // 2³⁰ / 15,000² is 4.8.
        let whole = sample_of(9, 15_000, &[0, 9]);
        assert_eq!(whole.tokens(), 4);
        let parts = sample_of(9, 15_000, &[0, 2, 5, 9]);
        assert_eq!(orders(&parts), orders(&whole));
        assert_eq!(sample_of(2, 35_000, &[0, 2]).tokens(), 1);
    }
}
