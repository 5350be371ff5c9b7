//! Latents that fire at the same tokens.

mod exact;
mod sampled;

use serde::{Deserialize, Serialize};

use self::exact::{ExactBatch, ExactPairs, PairCounts};
use self::sampled::{SampledBatch, SampledTokens, TokenSample};
use crate::batch::BatchRows;
use crate::settings::StatisticsSettings;

/// Up to this many latents, pairs are counted over all tokens: the counts take half a gigabyte then. Above it, or in caches of
/// more tokens than a count can hold, they are counted over a sample.
pub const EXACT_WIDTH: usize = 16_384;

/// Another latent that fires at the same tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CoFiring {
    /// The other latent.
    pub latent: u32,
    /// Tokens at which both fire, of those that pairs are counted over.
    pub together: u64,
    /// Tokens at which both fire over tokens at which either does.
    pub jaccard: f64,
}

/// The tokens that pairs are counted over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoFiringTokens {
    /// None: no pairs are counted.
    None,
    /// All tokens that the SAE reads.
    All,
    /// A sample of so many.
    Sample(u64),
}

/// Counts of pairs of latents. Threads may share it.
#[derive(Debug)]
pub(crate) enum Pairs {
    None,
    Exact(ExactPairs),
    Sampled(TokenSample),
}

/// What is known of pairs of latents on some tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum PairSums {
    None,
    Exact(PairCounts),
    Sampled(SampledTokens),
}

/// The firings of one batch.
#[derive(Debug)]
pub(crate) enum BatchPairs<'run> {
    None,
    Exact(ExactBatch<'run>),
    Sampled(SampledBatch<'run>),
}

impl Pairs {
    pub(crate) fn new(settings: &StatisticsSettings) -> Self {
        let StatisticsSettings { width, cofiring, tokens, seed, .. } = *settings;
        if cofiring == 0 {
            Self::None
        } else if is_exact(settings) {
            Self::Exact(ExactPairs::new(width))
        } else {
            Self::Sampled(TokenSample::new(tokens, seed))
        }
    }

    pub(crate) fn batch<'run>(&'run self, rows: &BatchRows<'_>) -> BatchPairs<'run> {
        match self {
            Self::None => BatchPairs::None,
            Self::Exact(pairs) => BatchPairs::Exact(pairs.batch(rows.rows().len())),
            Self::Sampled(sample) => BatchPairs::Sampled(sample.batch(rows)),
        }
    }

    pub(crate) fn finish(self) -> PairSums {
        match self {
            Self::None => PairSums::None,
            Self::Exact(pairs) => PairSums::Exact(pairs.finish()),
            Self::Sampled(sample) => PairSums::Sampled(sample.finish()),
        }
    }
}

impl PairSums {
    /// Checks what comes from a file; the error is what was found. `firings` are those of each latent.
    pub(crate) fn check(&self, settings: &StatisticsSettings, firings: &[u64]) -> Result<(), String> {
        let is_whole = match self {
            Self::None => settings.cofiring == 0,
            Self::Exact(counts) => settings.cofiring > 0 && is_exact(settings) && counts.are_within(firings),
            Self::Sampled(tokens) => settings.cofiring > 0 && !is_exact(settings) && tokens.are_of(settings.width),
        };
        if is_whole { Ok(()) } else { Err("counts of pairs of latents that cannot be".to_owned()) }
    }

    /// Adds the pairs of other tokens, which were counted with the same settings.
    pub(crate) fn add(&mut self, other: Self) {
        match (self, other) {
            (Self::Exact(own), Self::Exact(other)) => own.add(other),
            (Self::Sampled(own), Self::Sampled(other)) => own.add(other),
            // The same settings count the same kind.
            (_, _) => {}
        }
    }

    /// For each latent the `most` others with the largest Jaccard index, ties by latent, and the tokens that they are counted
    /// over. `firings` are those of each latent over all tokens.
    pub(crate) fn strongest(self, firings: &[u64], most: usize) -> (Vec<Vec<CoFiring>>, CoFiringTokens) {
        match self {
            Self::None => (vec![Vec::new(); firings.len()], CoFiringTokens::None),
            Self::Exact(counts) => (counts.strongest(firings, most), CoFiringTokens::All),
            Self::Sampled(tokens) => {
                let sample = CoFiringTokens::Sample(tokens.len());
                (tokens.strongest(firings.len(), most), sample)
            }
        }
    }
}

/// Whether pairs are counted over all tokens.
fn is_exact(settings: &StatisticsSettings) -> bool {
    settings.width <= EXACT_WIDTH && u32::try_from(settings.tokens).is_ok()
}

impl BatchPairs<'_> {
    /// Adds a latent that fires in these kept rows. Latents come in ascending order.
    pub(crate) fn add(&mut self, latent: u32, rows: impl Iterator<Item = u32>) {
        match self {
            Self::None => {}
            Self::Exact(batch) => batch.add(latent, rows),
            Self::Sampled(batch) => batch.add(latent, rows),
        }
    }

    pub(crate) fn finish(self) {
        match self {
            Self::None => {}
            Self::Exact(batch) => batch.finish(),
            Self::Sampled(batch) => batch.finish(),
        }
    }
}

impl CoFiring {
    /// A latent that fires at `together` of the tokens at which this one or the other fires.
    fn new(latent: u32, together: u64, firings: [u64; 2]) -> Self {
        let either = firings[0] + firings[1] - together;
        Self { latent, together, jaccard: together as f64 / either as f64 }
    }
}

/// The strongest of the latents that fire at the same tokens as one.
#[derive(Debug)]
struct Strongest {
    most: usize,
    /// Firings of the one.
    firings: u64,
    /// Where another fires together with it less often, it is none of the strongest.
    fewest: u64,
    /// In order, at most `most`.
    others: Vec<CoFiring>,
}

impl Strongest {
    fn of(firings: u64, most: usize) -> Self {
        Self { most, firings, fewest: 1, others: Vec::new() }
    }

    /// Adds a candidate: a latent with `firings` firings, `together` of which are at this latent's tokens.
    #[inline]
    fn offer(&mut self, latent: u32, together: u64, firings: impl FnOnce() -> u64) {
        if together < self.fewest {
            return;
        }
        let last = if self.others.len() == self.most { self.others.last().copied() } else { None };
        let other = CoFiring::new(latent, together, [self.firings, firings()]);
        let order = |own: &CoFiring| other.jaccard.total_cmp(&own.jaccard).then(own.latent.cmp(&latent));
        if last.is_none_or(|last| order(&last).is_gt()) {
            self.others.truncate(self.most - 1);
            let place = self.others.partition_point(|own| order(own).is_lt());
            self.others.insert(place, other);
        }
        if let (true, Some(last)) = (self.others.len() == self.most, self.others.last()) {
            // Either fires at least where this one does. A little less than the product, which may be rounded up.
            self.fewest = (last.jaccard * self.firings as f64 * (1.0 - 1e-9)) as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::batch::RowLabels;

    const WIDTH: usize = 12;

    fn settings(tokens: u64) -> StatisticsSettings {
        StatisticsSettings { cofiring: 3, tokens, ..StatisticsSettings::new(WIDTH) }
    }

    /// By definition, from the latents of each token.
    fn expected(tokens: &[Vec<u32>]) -> Vec<Vec<CoFiring>> {
        let count = |latents: &[u32]| {
            tokens.iter().filter(|own| latents.iter().all(|latent| own.contains(latent))).count() as u64
        };
        let of = |latent: u32| {
            let mut all: Vec<CoFiring> = (0..WIDTH as u32)
                .filter(|&other| other != latent && count(&[latent, other]) > 0)
                .map(|other| CoFiring::new(other, count(&[latent, other]), [count(&[latent]), count(&[other])]))
                .collect();
            all.sort_by(|left, right| right.jaccard.total_cmp(&left.jaccard).then(left.latent.cmp(&right.latent)));
            all.truncate(3);
            all
        };
        (0..WIDTH as u32).map(of).collect()
    }

    /// Adds tokens to the pairs, one sequence, `at_once` of its tokens read in each batch.
    fn sums(pairs: Pairs, sequence: u64, tokens: &[Vec<u32>], at_once: usize) -> PairSums {
        let labels = RowLabels::new([(sequence, tokens.len() as u32)].into_iter(), Vec::new());
        let places: Vec<i64> = (0..tokens.len() as i64).collect();
        for rows in places.chunks(at_once) {
            let mut batch = pairs.batch(&BatchRows::new(&labels, rows));
            for latent in 0..WIDTH as u32 {
                let fires = |row: &i64| tokens[*row as usize].contains(&latent);
                batch.add(latent, (0..).zip(rows).filter(|(_, row)| fires(row)).map(|(place, _)| place));
            }
            batch.finish();
        }
        pairs.finish()
    }

    fn firings(tokens: &[Vec<u32>]) -> Vec<u64> {
        let of = |latent: u32| tokens.iter().filter(|own| own.contains(&latent)).count() as u64;
        (0..WIDTH as u32).map(of).collect()
    }

    fn found(pairs: Pairs, tokens: &[Vec<u32>], at_once: usize) -> (Vec<Vec<CoFiring>>, CoFiringTokens) {
        sums(pairs, 0, tokens, at_once).strongest(&firings(tokens), 3)
    }

    proptest! {
        #[test]
        fn pairs_are_those_of_the_definition(
            tokens in vec(vec(0..WIDTH as u32, 0..8), 1..30),
            at_once in 1..30usize,
            gathered in 0..40usize,
        ) {
            let exact = Pairs::new(&settings(tokens.len() as u64));
            prop_assert_eq!(found(exact, &tokens, at_once), (expected(&tokens), CoFiringTokens::All));
            let exact = Pairs::Exact(ExactPairs::gathering(WIDTH, gathered));
            prop_assert_eq!(found(exact, &tokens, at_once), (expected(&tokens), CoFiringTokens::All));
            let sample = Pairs::Sampled(TokenSample::new(tokens.len() as u64, 0));
            let of_all = CoFiringTokens::Sample(tokens.len() as u64);
            prop_assert_eq!(found(sample, &tokens, at_once), (expected(&tokens), of_all));
        }

        #[test]
        fn pairs_of_two_halves_are_those_of_the_whole(
            tokens in vec(vec(0..WIDTH as u32, 0..8), 2..30),
            cut in 0..30usize,
            is_exact: bool,
        ) {
            let all = settings(if is_exact { tokens.len() as u64 } else { 1 << 32 });
            let pairs = || if is_exact { Pairs::new(&all) } else {
                Pairs::Sampled(TokenSample::new(tokens.len() as u64, 0))
            };
            let (left, right) = tokens.split_at(cut % tokens.len());
            let mut both = sums(pairs(), 0, left, 4);
            prop_assert_eq!(both.check(&all, &firings(left)), Ok(()));
            both.add(sums(pairs(), 1, right, 4));
            prop_assert_eq!(both.check(&all, &firings(&tokens)), Ok(()));
            let (strongest, _) = both.strongest(&firings(&tokens), 3);
            prop_assert_eq!(strongest, expected(&tokens));
        }
    }

    #[test]
    fn wide_saes_and_endless_caches_are_sampled() {
        let kind = |width, tokens, cofiring| {
            Pairs::new(&StatisticsSettings { cofiring, tokens, ..StatisticsSettings::new(width) })
        };
        assert!(matches!(kind(EXACT_WIDTH, 1 << 31, 1), Pairs::Exact(_)));
        assert!(matches!(kind(EXACT_WIDTH + 1, 1 << 31, 1), Pairs::Sampled(_)));
        assert!(matches!(kind(8, 1 << 32, 1), Pairs::Sampled(_)));
        assert!(matches!(kind(8, 8, 0), Pairs::None));
    }
}
