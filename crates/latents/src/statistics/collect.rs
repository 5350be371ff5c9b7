//! Collecting the statistics of all latents of one SAE, by several threads.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::batch::BatchRows;
use crate::cofiring::{BatchPairs, Pairs};
use crate::error::LatentsError;
use crate::examples::Activation;
use crate::groups::{Group, GroupNumbers};
use crate::priority::Priorities;
use crate::settings::StatisticsSettings;
use crate::statistics::partial::{GroupCounts, LatentSums, OVERSAMPLE, PartialStatistics};

/// Latents that share a lock.
const STRIPE: usize = 128;

/// Statistics of the latents of one SAE, in the making. Threads may share it.
#[derive(Debug)]
pub struct Statistics {
    settings: StatisticsSettings,
    /// Tokens that the SAE has read, and by number of their groups.
    tokens: Mutex<(u64, Vec<u64>)>,
    /// [`STRIPE`] latents each.
    stripes: Vec<Mutex<Stripe>>,
    pairs: Pairs,
}

#[derive(Debug)]
struct Stripe {
    /// For each group, by number, the firings of each latent.
    groups: Vec<[u64; STRIPE]>,
    latents: Vec<LatentSums>,
}

/// One batch, whose latents are being added.
#[derive(Debug)]
pub struct BatchStatistics<'run> {
    statistics: &'run Statistics,
    rows: &'run BatchRows<'run>,
    pairs: BatchPairs<'run>,
    /// Firings of a range of latents: the end of each latent's, and index of the kept row and activation, by latent.
    ends: Vec<usize>,
    firings: Vec<(u32, f32)>,
}

impl Statistics {
    /// Begins without any tokens.
    pub fn new(settings: StatisticsSettings) -> Self {
        let stripe = |first: usize| {
            let latents = (first..settings.width.min(first + STRIPE)).map(|_| LatentSums::default());
            Mutex::new(Stripe { groups: Vec::new(), latents: latents.collect() })
        };
        let stripes = (0..settings.width).step_by(STRIPE).map(stripe).collect();
        Self { tokens: Mutex::default(), stripes, pairs: Pairs::new(&settings), settings }
    }

    /// Begins a batch. Every token that the SAE reads is in one batch, with the other tokens of its sequence.
    pub fn batch<'run>(&'run self, rows: &'run BatchRows<'run>) -> BatchStatistics<'run> {
        BatchStatistics { statistics: self, pairs: self.pairs.batch(rows), rows, ends: Vec::new(), firings: Vec::new() }
    }

    /// The statistics of all batches. `numbers` are those of the batches' groups.
    pub fn finish(self, numbers: &GroupNumbers) -> PartialStatistics {
        let Self { settings, tokens, stripes, pairs } = self;
        let (tokens, by_group) = tokens.into_inner().unwrap_or_else(PoisonError::into_inner);
        let of_group = |(group, number): (Group, u32)| {
            let tokens = by_group.get(number as usize).copied().unwrap_or(0);
            (number as usize, group, GroupCounts { tokens, firings: Vec::with_capacity(settings.width) })
        };
        let mut groups: Vec<(usize, Group, GroupCounts)> = numbers.sorted().into_iter().map(of_group).collect();
        let mut latents = Vec::with_capacity(settings.width);
        for stripe in stripes {
            let stripe = stripe.into_inner().unwrap_or_else(PoisonError::into_inner);
            for (number, _, counts) in &mut groups {
                let firings = stripe.groups.get(*number).unwrap_or(&[0; STRIPE]);
                counts.firings.extend(&firings[..stripe.latents.len()]);
            }
            latents.extend(stripe.latents.into_iter().map(|mut own| {
                own.top.settle(settings.top);
                own.sample.settle(settings.sampled * OVERSAMPLE);
                own
            }));
        }
        let groups = groups.into_iter().map(|(_, group, counts)| (group, counts)).collect();
        PartialStatistics { settings, tokens, groups, latents, pairs: pairs.finish() }
    }

    fn lock(&self, stripe: usize) -> MutexGuard<'_, Stripe> {
        self.stripes[stripe].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BatchStatistics<'_> {
    /// Adds a range of latents: for each kept row, those above zero and their activations. Ranges come in ascending order.
    pub fn add<'row>(
        &mut self,
        latents: Range<usize>,
        rows: impl Iterator<Item = &'row [(u32, f32)]> + Clone,
    ) -> Result<(), LatentsError> {
        self.sort_by_latent(&latents, rows)?;
        let settings = &self.statistics.settings;
        let mut first = latents.start;
        while first < latents.end {
            let (stripe, end) = (first / STRIPE, latents.end.min((first / STRIPE + 1) * STRIPE));
            let places = first - latents.start..end - latents.start;
            let (from, to) = (self.start_of(places.start), self.start_of(places.end));
            if from < to {
                let mut locked = self.statistics.lock(stripe);
                for latent in first..end {
                    let own = self.start_of(latent - latents.start)..self.start_of(latent - latents.start + 1);
                    if !own.is_empty() {
                        locked.add(latent as u32, &self.firings[own.clone()], self.rows, settings);
                        self.pairs.add(latent as u32, self.firings[own].iter().map(|(row, _)| *row));
                    }
                }
            }
            first = end;
        }
        Ok(())
    }

    /// Ends the batch, when all latents have been added.
    pub fn finish(self) {
        self.pairs.finish();
        let mut tokens = self.statistics.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, by_group) = &mut *tokens;
        *all += self.rows.rows().len() as u64;
        for &row in self.rows.rows() {
            for &group in self.rows.labels.groups(row) {
                let group = group as usize;
                if by_group.len() <= group {
                    by_group.resize(group + 1, 0);
                }
                by_group[group] += 1;
            }
        }
    }

    /// Start of a latent's firings, by its place in the range.
    fn start_of(&self, place: usize) -> usize {
        place.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    fn sort_by_latent<'row>(
        &mut self,
        latents: &Range<usize>,
        rows: impl Iterator<Item = &'row [(u32, f32)]> + Clone,
    ) -> Result<(), LatentsError> {
        let mut next = vec![0; latents.len() + 1];
        let mut all = 0;
        for (row, fired) in rows.clone().enumerate() {
            for &(latent, value) in fired {
                if !value.is_finite() {
                    let (sequence, position) = self.rows.labels.place(self.rows.rows()[row]);
                    return Err(LatentsError::NonFinite { latent, value, sequence, position });
                }
                next[latent as usize - latents.start + 1] += 1;
            }
            all += fired.len();
        }
        for place in 0..latents.len() {
            next[place + 1] += next[place];
        }
        self.firings.clear();
        self.firings.resize(all, (0, 0.0));
        for (row, fired) in (0u32..).zip(rows) {
            for &(latent, value) in fired {
                let next = &mut next[latent as usize - latents.start];
                self.firings[*next] = (row, value);
                *next += 1;
            }
        }
        // Each entry has moved from its latent's start to its end.
        next.truncate(latents.len());
        self.ends = next;
        Ok(())
    }
}

impl Stripe {
    /// Adds the firings of a latent in one batch: index of the kept row and activation, in the order of rows.
    fn add(&mut self, latent: u32, firings: &[(u32, f32)], rows: &BatchRows<'_>, settings: &StatisticsSettings) {
        let place = latent as usize % STRIPE;
        let own = &mut self.latents[place];
        own.firings += firings.len() as u64;
        for &(row, value) in firings {
            own.sum.add(value);
            own.max = own.max.max(value);
            own.histogram.add(value);
            for &group in rows.labels.groups(rows.rows()[row as usize]) {
                let group = group as usize;
                if self.groups.len() <= group {
                    self.groups.resize(group + 1, [0; STRIPE]);
                }
                self.groups[group][place] += 1;
            }
        }
        if settings.top + settings.sampled == 0 || !settings.has_examples(latent) {
            return;
        }
        let priorities = Priorities::of_latent(settings.seed, latent);
        for (index, &(row, value)) in firings.iter().enumerate() {
            let (sequence, position) = rows.labels.place(rows.rows()[row as usize]);
            let at = (sequence, Activation { position, value });
            let around = || around(firings, index, rows, settings.window);
            // Larger activations have smaller keys.
            own.top.offer(settings.top, u64::from(u32::MAX - value.to_bits()), at, around);
            own.sample.offer(settings.sampled * OVERSAMPLE, priorities.at(sequence, position), at, around);
        }
    }
}

/// A latent's activations in the window around one of its firings, and the tokens of the window that the SAE does not read.
fn around(firings: &[(u32, f32)], index: usize, rows: &BatchRows<'_>, window: u32) -> Box<[Activation]> {
    let row_of = |&(row, _): &(u32, f32)| rows.rows()[row as usize];
    let itself = row_of(&firings[index]);
    let window = rows.labels.window(itself, window);
    let before = firings[..index].iter().rev().take_while(|firing| row_of(firing) >= window.start).count();
    let mut fired = firings[index - before..].iter().take_while(|firing| row_of(firing) < window.end).peekable();
    let mut around = Vec::new();
    for row in window.clone() {
        let (_, position) = rows.labels.place(row);
        let value = fired.next_if(|firing| row_of(firing) == row).map(|(_, value)| *value);
        match value {
            _ if row == itself => {}
            Some(value) => around.push(Activation { position, value }),
            None if !rows.has(row) => around.push(Activation { position, value: f32::NAN }),
            None => {}
        }
    }
    around.into()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::batch::RowLabels;
    use crate::cofiring::{CoFiring, CoFiringTokens};
    use crate::examples::Example;
    use crate::statistics::latents::{GroupTokens, SaeLatents};

    const WIDTH: usize = 300;

    /// A sequence: for each token whether it is read, its section and the latents that fire.
    type Token = (bool, u8, Vec<(u32, f32)>);

    fn settings() -> StatisticsSettings {
        StatisticsSettings {
            top: 3,
            sampled: 2,
            cofiring: 2,
            window: 2,
            tokens: 100,
            seed: 9,
            ..StatisticsSettings::new(WIDTH)
        }
    }

    fn section(number: u8) -> Group {
        Group::Section(format!("section {number}"))
    }

    /// Adds sequences, as many of them a batch as `at_once`, and their latents in ranges of `range`.
    fn of(
        settings: &StatisticsSettings,
        sequences: &[(u64, Vec<Token>)],
        at_once: usize,
        range: usize,
    ) -> PartialStatistics {
        let (statistics, numbers) = (Statistics::new(settings.clone()), GroupNumbers::default());
        for some in sequences.chunks(at_once) {
            let tokens: Vec<&Token> = some.iter().flat_map(|(_, tokens)| tokens).collect();
            let groups = tokens.iter().map(|(_, group, _)| numbers.number(&section(*group))).collect();
            let labels = RowLabels::new(some.iter().map(|(id, tokens)| (*id, tokens.len() as u32)), groups);
            let kept: Vec<i64> = (0..).zip(&tokens).filter(|(_, token)| token.0).map(|(row, _)| row).collect();
            let rows = BatchRows::new(&labels, &kept);
            let mut batch = statistics.batch(&rows);
            for first in (0..settings.width).step_by(range) {
                let latents = first..settings.width.min(first + range);
                let fired: Vec<Vec<(u32, f32)>> = kept
                    .iter()
                    .map(|&row| {
                        let all = tokens[row as usize].2.iter().copied();
                        all.filter(|(latent, _)| latents.contains(&(*latent as usize))).collect()
                    })
                    .collect();
                batch.add(latents, fired.iter().map(Vec::as_slice)).unwrap();
            }
            batch.finish();
        }
        statistics.finish(&numbers)
    }

    fn assert_same(left: &SaeLatents, right: &SaeLatents) {
        assert_eq!(
            (left.tokens, &left.groups, left.cofiring_tokens),
            (right.tokens, &right.groups, right.cofiring_tokens)
        );
        // NaN marks tokens that are not read.
        assert_eq!(format!("{:?}", left.latents), format!("{:?}", right.latents));
    }

    #[test]
    fn statistics_of_a_few_tokens_are_those_by_hand() {
        let token = |section, latents: &[(u32, f32)]| (true, section, latents.to_vec());
        let left_out = (false, 0, Vec::new());
        let sequences = [
            (5, vec![token(0, &[(1, 2.0), (200, 1.0)]), token(1, &[(1, 0.5)]), left_out, token(1, &[(1, 4.0)])]),
            (2, vec![token(1, &[(200, 3.0)]), token(1, &[(1, 4.0), (200, 0.25)])]),
        ];
        let found = of(&settings(), &sequences, 1, 100).finish();
        let tokens = |number, tokens| GroupTokens { group: section(number), tokens };
        assert_eq!((found.tokens, &found.groups[..]), (5, &[tokens(0, 1), tokens(1, 4)][..]));
        assert_eq!(found.cofiring_tokens, CoFiringTokens::All);
        let latent = &found.latents[1];
        assert_eq!((latent.firings, latent.mean, latent.max), (4, Some(10.5 / 4.0), Some(4.0)));
        assert_eq!(latent.groups, [1, 3]);
        assert_eq!(latent.cofiring, [CoFiring { latent: 200, together: 2, jaccard: 0.4 }]);
        let places: Vec<_> = latent.top.iter().map(|own| (own.sequence, own.at.position, own.at.value)).collect();
        assert_eq!(places, [(2, 1, 4.0), (5, 3, 4.0), (5, 0, 2.0)]);
        let around = |example: &Example| -> Vec<(u32, f32)> {
            example.around.iter().map(|own| (own.position, own.value)).collect()
        };
        assert_eq!((around(&latent.top[0]), &around(&latent.top[1])[..1]), (vec![], &[(1, 0.5)][..]));
        let not_read = latent.top[1].around[1];
        assert!(not_read.position == 2 && not_read.value.is_nan());
        assert_eq!(around(&latent.top[2])[0], (1, 0.5));
        assert_eq!(latent.sampled.len(), 2);
        let dead = &found.latents[0];
        assert_eq!((dead.firings, dead.mean, dead.max, dead.top.len()), (0, None, None, 0));
    }

    #[test]
    fn examples_of_chosen_latents_alone_and_none_where_none_are_wanted() {
        let sequences = [(0, vec![(true, 0, vec![(1, 2.0), (2, 1.0)])])];
        let chosen = StatisticsSettings { with_examples: Some(vec![2]), ..settings() };
        let found = of(&chosen, &sequences, 1, 300).finish();
        assert_eq!(
            [1, 2].map(|latent: usize| (found.latents[latent].firings, found.latents[latent].top.len())),
            [(1, 0), (1, 1)]
        );
        let none = of(&StatisticsSettings::new(WIDTH), &sequences, 1, 300).finish();
        assert!(none.latents.iter().all(|own| own.top.is_empty() && own.sampled.is_empty() && own.cofiring.is_empty()));
        assert_eq!(none.cofiring_tokens, CoFiringTokens::None);
    }

    #[test]
    fn what_is_not_a_number_is_named() {
        let statistics = Statistics::new(settings());
        let labels = RowLabels::new([(8, 3)].into_iter(), Vec::new());
        let rows = BatchRows::new(&labels, &[0, 2]);
        let fired: [&[(u32, f32)]; 2] = [&[(1, 1.0)], &[(7, f32::NAN)]];
        let error = statistics.batch(&rows).add(0..WIDTH, fired.into_iter()).unwrap_err().to_string();
        assert!(error.contains("NaN of latent 7 at position 2 of sequence 8"), "{error}");
    }

    fn latents() -> impl Strategy<Value = Vec<(u32, f32)>> {
        vec((0..WIDTH as u32, prop::sample::select(vec![0.5f32, 1.0, 1.5, 3.0])), 0..6).prop_map(|mut all| {
            all.sort_by_key(|(latent, _)| latent % 7);
            // Few latents, so that they fire often.
            let mut few: Vec<(u32, f32)> = all.into_iter().map(|(latent, value)| (latent % 7 * 45, value)).collect();
            few.dedup_by_key(|(latent, _)| *latent);
            few
        })
    }

    proptest! {
        #[test]
        fn the_order_and_the_size_of_batches_do_not_matter(
            texts in vec(vec((any::<bool>(), 0u8..3, latents()), 1..12), 1..8),
            at_once in 1..8usize,
            range in 1..400usize,
            turn in 0..8usize,
        ) {
            let mut sequences: Vec<(u64, Vec<Token>)> = (0..).zip(texts).collect();
            let whole = of(&settings(), &sequences, sequences.len(), WIDTH);
            prop_assert_eq!(whole.check(), Ok(()));
            let whole = whole.finish();
            let turn = turn % sequences.len();
            sequences.rotate_left(turn);
            assert_same(&of(&settings(), &sequences, at_once, range).finish(), &whole);
            let (left, right) = sequences.split_at(turn);
            let mut parts = of(&settings(), right, at_once, range);
            parts.add(of(&settings(), left, at_once, range));
            prop_assert_eq!(parts.check(), Ok(()));
            assert_same(&parts.finish(), &whole);
        }
    }
}
