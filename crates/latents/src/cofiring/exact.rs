//! Counts of all pairs over all tokens.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{CoFiring, Strongest};

/// Latents whose counts share a lock.
const STRIPE: usize = 16;

/// Latents whose strongest are found at once.
const FINISHED_AT_ONCE: usize = 64;

/// Firings that are gathered before their pairs are counted: many at once, because all counts pass through the processor's
/// cache each time.
const AT_ONCE: usize = 1 << 20;

/// For each pair of latents, the tokens at which both fire.
#[derive(Debug)]
pub(crate) struct ExactPairs {
    width: usize,
    /// Firings that are gathered.
    at_once: usize,
    stripes: Vec<Mutex<Stripe>>,
    /// Firings whose pairs are not counted yet.
    gathered: Mutex<Firings>,
}

/// For each latent of a stripe, its counts with the latents after it, from the next one on; empty until it fires.
type Stripe = Vec<Vec<u32>>;

/// For each latent, the tokens at which it and each of the latents after it fire, from the next one on; empty if it never fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PairCounts(Vec<Vec<u32>>);

/// Latents that fire at some tokens, in ascending order at each token.
#[derive(Debug, Default)]
struct Firings {
    latents: Vec<u32>,
    /// The end of each token's latents.
    ends: Vec<usize>,
}

/// The firings of one batch.
#[derive(Debug)]
pub(crate) struct ExactBatch<'run> {
    pairs: &'run ExactPairs,
    /// Row and latent, in ascending order of latents.
    firings: Vec<(u32, u32)>,
    /// Latents that fire in each row.
    counts: Vec<usize>,
}

impl ExactPairs {
    pub(super) fn new(width: usize) -> Self {
        Self::gathering(width, AT_ONCE)
    }

    /// Gathers so many firings.
    pub(super) fn gathering(width: usize, at_once: usize) -> Self {
        let stripe = |first: usize| Mutex::new(vec![Vec::new(); STRIPE.min(width - first)]);
        let stripes = (0..width).step_by(STRIPE).map(stripe).collect();
        Self { width, at_once, stripes, gathered: Mutex::default() }
    }

    /// Begins a batch of so many rows.
    pub(super) fn batch(&self, rows: usize) -> ExactBatch<'_> {
        ExactBatch { pairs: self, firings: Vec::new(), counts: vec![0; rows] }
    }

    pub(super) fn finish(self) -> PairCounts {
        self.count(&std::mem::take(&mut *lock(&self.gathered)));
        let stripes = self.stripes.into_iter();
        PairCounts(stripes.flat_map(|stripe| stripe.into_inner().unwrap_or_else(PoisonError::into_inner)).collect())
    }

    /// Counts the pairs of some tokens.
    fn count(&self, firings: &Firings) {
        // For each latent, the places of those after it at the same token.
        let mut next = vec![0; self.width + 1];
        for &latent in &firings.latents {
            next[latent as usize + 1] += 1;
        }
        for latent in 0..self.width {
            next[latent + 1] += next[latent];
        }
        let mut after = vec![(0u32, 0u32); firings.latents.len()];
        let mut start = 0;
        for &end in &firings.ends {
            for place in start..end {
                let next = &mut next[firings.latents[place] as usize];
                after[*next] = (place as u32 + 1, end as u32);
                *next += 1;
            }
            start = end;
        }
        // Each entry has moved from its latent's start to its end.
        let next = &next[..self.width];
        next.par_chunks(STRIPE).enumerate().for_each(|(stripe, ends)| {
            let mut start = (stripe * STRIPE).checked_sub(1).map_or(0, |last| next[last]);
            let mut counts = lock(&self.stripes[stripe]);
            for (place, &end) in ends.iter().enumerate() {
                let latent = stripe * STRIPE + place;
                if start < end {
                    let counts = &mut counts[place];
                    counts.resize(self.width - latent - 1, 0);
                    for &(from, to) in &after[start..end] {
                        for &other in &firings.latents[from as usize..to as usize] {
                            counts[other as usize - latent - 1] += 1;
                        }
                    }
                }
                start = end;
            }
        });
    }
}

impl PairCounts {
    /// Whether no pair fires more often than either of its latents.
    pub(super) fn are_within(&self, firings: &[u64]) -> bool {
        let is_within = |(latent, counts): (usize, &Vec<u32>)| {
            let others = &firings[latent + 1..];
            let mut pairs = counts.iter().zip(others);
            (counts.is_empty() || counts.len() == others.len())
                && pairs.all(|(&count, other)| u64::from(count) <= firings[latent].min(*other))
        };
        self.0.len() == firings.len() && self.0.iter().enumerate().all(is_within)
    }

    /// Adds the counts of other tokens.
    pub(super) fn add(&mut self, other: Self) {
        for (own, other) in self.0.iter_mut().zip(other.0) {
            own.resize(own.len().max(other.len()), 0);
            for (own, other) in own.iter_mut().zip(other) {
                *own = own.saturating_add(other);
            }
        }
    }

    pub(super) fn strongest(self, firings: &[u64], most: usize) -> Vec<Vec<CoFiring>> {
        let (counts, width) = (self.0, firings.len());
        // Some latents at a time, whose counts with an earlier one are side by side.
        let of_some = |first: usize| {
            let latents = first..width.min(first + FINISHED_AT_ONCE);
            let mut all: Vec<Strongest> = latents.clone().map(|latent| Strongest::of(firings[latent], most)).collect();
            for earlier in 0..latents.end {
                let after = latents.start.max(earlier + 1)..latents.end;
                let with_these = counts[earlier].get(after.start - earlier - 1..after.end - earlier - 1);
                let all = &mut all[after.start - first..];
                for (own, &together) in all.iter_mut().zip(with_these.unwrap_or_default()) {
                    own.offer(earlier as u32, u64::from(together), || firings[earlier]);
                }
            }
            for (latent, own) in latents.zip(&mut all) {
                for (other, &together) in (latent + 1..).zip(&counts[latent]) {
                    own.offer(other as u32, u64::from(together), || firings[other]);
                }
            }
            all.into_iter().map(|own| own.others).collect::<Vec<_>>()
        };
        let firsts: Vec<usize> = (0..width).step_by(FINISHED_AT_ONCE).collect();
        firsts.into_par_iter().flat_map_iter(of_some).collect()
    }
}

impl ExactBatch<'_> {
    pub(super) fn add(&mut self, latent: u32, rows: impl Iterator<Item = u32>) {
        for row in rows {
            self.firings.push((row, latent));
            self.counts[row as usize] += 1;
        }
    }

    pub(super) fn finish(self) {
        let Self { pairs, firings, counts } = self;
        let full = {
            let mut gathered = lock(&pairs.gathered);
            let Firings { latents, ends } = &mut *gathered;
            let mut end = latents.len();
            latents.resize(end + firings.len(), 0);
            let mut next = Vec::with_capacity(counts.len());
            for count in counts {
                next.push(end);
                end += count;
                ends.push(end);
            }
            for (row, latent) in firings {
                let next = &mut next[row as usize];
                latents[*next] = latent;
                *next += 1;
            }
            if latents.len() < pairs.at_once {
                return;
            }
            std::mem::take(&mut *gathered)
        };
        pairs.count(&full);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
