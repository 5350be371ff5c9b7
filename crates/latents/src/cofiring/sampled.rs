//! Counts of pairs over a sample of tokens.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

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
    priorities: Priorities,
    /// Numbers below this are in the sample.
    cut: u64,
    tokens: Mutex<SampledTokens>,
}

/// Place of a token in the order of the sample: its number, sequence and position.
type Order = (u64, u64, u32);

/// Tokens of the sample with the latents that fire at them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SampledTokens {
    /// The latents of each token, in ascending order.
    latents: BTreeMap<Order, Box<[u32]>>,
    /// The sum of the squares of their numbers.
    pairs: u64,
    /// The first of the tokens that do not fit. Neither do those after it.
    end: Option<Order>,
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
    pub(super) fn new(tokens: u64, seed: u64) -> Self {
        let cut = if tokens <= SAMPLE_TOKENS {
            u64::MAX
        } else {
            ((u128::from(SAMPLE_TOKENS) << u64::BITS) / u128::from(tokens)) as u64
        };
        Self { priorities: Priorities::of_tokens(seed), cut, tokens: Mutex::default() }
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

    pub(super) fn finish(self) -> SampledTokens {
        self.tokens.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SampledTokens {
    /// Number of tokens.
    pub(super) fn len(&self) -> u64 {
        self.latents.len() as u64
    }

    /// Whether these may be tokens at which latents of an SAE of `width` fire.
    pub(super) fn are_of(&self, width: usize) -> bool {
        let is_of = |latents: &[u32]| {
            latents.is_sorted_by(|left, right| left < right)
                && latents.last().is_none_or(|&last| (last as usize) < width)
        };
        let pairs = self.latents.values().map(|latents| squared(latents)).fold(0, u64::saturating_add);
        self.latents.values().all(|latents| is_of(latents)) && pairs == self.pairs && self.fits()
    }

    /// Adds other tokens of the sample.
    pub(super) fn add(&mut self, other: Self) {
        self.end_at(other.end);
        self.extend(other.latents);
    }

    fn extend(&mut self, tokens: impl IntoIterator<Item = (Order, Box<[u32]>)>) {
        for (order, latents) in tokens {
            if self.end.is_some_and(|end| order >= end) {
                continue;
            }
            self.pairs += squared(&latents);
            self.latents.insert(order, latents);
            while !self.fits() {
                let last = self.latents.last_key_value().map(|(order, _)| *order);
                self.end_at(last);
            }
        }
    }

    fn fits(&self) -> bool {
        self.pairs <= MOST_PAIRS || self.latents.len() <= 1
    }

    /// Leaves out a token, and those after it.
    fn end_at(&mut self, end: Option<Order>) {
        let Some(end) = end.filter(|end| self.end.is_none_or(|own| *end < own)) else { return };
        self.end = Some(end);
        let left_out = self.latents.split_off(&end);
        self.pairs -= left_out.values().map(|latents| squared(latents)).sum::<u64>();
    }

    /// For each of `width` latents, the `most` that fire at the same tokens with the largest Jaccard index.
    pub(super) fn strongest(self, width: usize, most: usize) -> Vec<Vec<CoFiring>> {
        let tokens: Vec<Box<[u32]>> = self.latents.into_values().collect();
        // The tokens of each latent.
        let mut of_latents = vec![Vec::new(); width];
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
        let scratch = || (vec![0u32; width], Vec::new());
        (0..width).into_par_iter().map_init(scratch, count).collect()
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
        tokens.extend(self.tokens.into_iter().map(|(order, latents)| (order, latents.into())));
    }
}

/// What a token adds to the sum of squares.
fn squared(latents: &[u32]) -> u64 {
    (latents.len() as u64).pow(2)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::batch::RowLabels;

    /// The sample of a cache of one sequence, in which `fire` latents fire at each token. The last batch comes first.
    fn sample_of(tokens: u32, fire: u32, borders: &[u32]) -> SampledTokens {
        let labels = RowLabels::new([(3, tokens)].into_iter(), Vec::new());
        let sample = TokenSample::new(u64::from(tokens), 5);
        for pair in borders.windows(2).rev() {
            let rows: Vec<i64> = (pair[0]..pair[1]).map(i64::from).collect();
            let mut batch = sample.batch(&BatchRows::new(&labels, &rows));
            for latent in 0..fire {
                batch.add(latent, 0..rows.len() as u32);
            }
            batch.finish();
        }
        sample.finish()
    }

    fn orders(sample: &SampledTokens) -> Vec<Order> {
        sample.latents.keys().copied().collect()
    }

    #[test]
    fn a_sample_has_about_so_many_tokens_whatever_the_batches() {
        let tokens = 4 << 16;
        let whole = sample_of(tokens, 1, &[0, tokens]);
        let count = whole.len();
        assert!(count.abs_diff(SAMPLE_TOKENS) < 2000, "{count}");
        let parts = sample_of(tokens, 1, &[0, 1000, 100_000, tokens]);
        assert_eq!(orders(&parts), orders(&whole));
    }

    #[test]
    fn tokens_at_which_too_many_latents_fire_are_fewer_whatever_the_batches() {
        // 2³⁰ / 15,000² is 4.8.
        let whole = sample_of(9, 15_000, &[0, 9]);
        assert_eq!(whole.len(), 4);
        let parts = sample_of(9, 15_000, &[0, 2, 5, 9]);
        assert_eq!(orders(&parts), orders(&whole));
        assert_eq!(sample_of(2, 35_000, &[0, 2]).len(), 1);
    }

    proptest! {
        /// Tokens at which few latents fire must not come in after one that does not fit, whatever the order.
        #[test]
        fn the_sample_ends_at_the_first_token_that_does_not_fit(
            fire in vec(prop::sample::select(vec![1u32, 900, 15_000, 24_000, 33_000]), 1..14),
            turn in 0..14usize,
            cut in 0..14usize,
        ) {
            let mut sum = 0;
            let fits = |fire: &&u32| {
                sum += u64::from(**fire).pow(2);
                sum <= MOST_PAIRS
            };
            let expected = fire.iter().take_while(fits).count().max(1);
            let mut tokens: Vec<(Order, Box<[u32]>)> =
                (0..).zip(&fire).map(|(number, &fire)| ((number, 0, 0), (0..fire).collect())).collect();
            tokens.rotate_left(turn % fire.len());
            let part = |tokens: &[(Order, Box<[u32]>)]| {
                let mut part = SampledTokens::default();
                part.extend(tokens.to_vec());
                part
            };
            let (left, right) = tokens.split_at(cut % fire.len());
            let mut parts = part(right);
            parts.add(part(left));
            for sample in [part(&tokens), parts] {
                prop_assert_eq!(orders(&sample), (0..expected as u64).map(|number| (number, 0, 0)).collect::<Vec<_>>());
                prop_assert!(sample.are_of(33_000) && !sample.are_of(1) || fire.iter().take(expected).all(|&fire| fire == 1));
            }
        }
    }
}
