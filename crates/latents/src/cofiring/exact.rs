//! Counts of all pairs over all tokens.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{CoFiring, Strongest};

/// Latents whose counts share a lock.
const STRIPE: usize = 16;

/// For each pair of latents, the tokens at which both fire.
#[derive(Debug)]
pub(crate) struct ExactPairs {
    width: usize,
    stripes: Vec<Mutex<Stripe>>,
}

/// For each latent of a stripe, its counts with the latents after it, from the next one on; empty until it fires.
type Stripe = Vec<Vec<u32>>;

/// The firings of one batch, by latent.
#[derive(Debug)]
pub(crate) struct ExactBatch<'run> {
    pairs: &'run ExactPairs,
    /// Latents that fire, in ascending order, and the end of each one's rows.
    latents: Vec<(u32, usize)>,
    rows: Vec<u32>,
    /// Latents that fire in each row.
    fired: Vec<usize>,
}

impl ExactPairs {
    pub(super) fn new(width: usize) -> Self {
        let stripe = |first: usize| Mutex::new(vec![Vec::new(); STRIPE.min(width - first)]);
        Self { width, stripes: (0..width).step_by(STRIPE).map(stripe).collect() }
    }

    /// Begins a batch of so many rows.
    pub(super) fn batch(&self, rows: usize) -> ExactBatch<'_> {
        ExactBatch { pairs: self, latents: Vec::new(), rows: Vec::new(), fired: vec![0; rows] }
    }

    pub(super) fn finish(self, firings: &[u64], most: usize) -> Vec<Vec<CoFiring>> {
        let mut strongest = vec![Strongest::default(); self.width];
        let rows =
            self.stripes.into_iter().flat_map(|stripe| stripe.into_inner().unwrap_or_else(PoisonError::into_inner));
        for (latent, counts) in rows.enumerate() {
            for (other, &together) in (latent + 1..).zip(&counts).filter(|(_, together)| **together > 0) {
                for (own, other) in [(latent, other), (other, latent)] {
                    let firings = [firings[own], firings[other]];
                    strongest[own].offer(most, CoFiring::new(other as u32, u64::from(together), firings));
                }
            }
        }
        strongest.into_iter().map(|strongest| strongest.0).collect()
    }

    fn lock(&self, stripe: usize) -> MutexGuard<'_, Stripe> {
        self.stripes[stripe].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ExactBatch<'_> {
    pub(super) fn add(&mut self, latent: u32, rows: impl Iterator<Item = u32>) {
        let start = self.rows.len();
        self.rows.extend(rows);
        for &row in &self.rows[start..] {
            self.fired[row as usize] += 1;
        }
        self.latents.push((latent, self.rows.len()));
    }

    pub(super) fn finish(self) {
        let Self { pairs, latents, rows, fired } = self;
        // The latents of each row, in ascending order, row by row.
        let mut next: Vec<usize> = Vec::with_capacity(fired.len());
        let mut end = 0;
        for count in fired {
            next.push(end);
            end += count;
        }
        let ends: Vec<usize> = next.iter().skip(1).copied().chain([end]).collect();
        let starts = next.clone();
        let mut of_rows = vec![0; end];
        let mut start = 0;
        for &(latent, end) in &latents {
            for &row in &rows[start..end] {
                of_rows[next[row as usize]] = latent;
                next[row as usize] += 1;
            }
            start = end;
        }
        // Each latent is counted with those after it in its rows.
        let mut next = starts;
        let (mut start, mut locked) = (0, None);
        for &(latent, end) in &latents {
            let (stripe, place) = (latent as usize / STRIPE, latent as usize % STRIPE);
            if locked.as_ref().is_none_or(|(of, _)| *of != stripe) {
                // The lock before is released first.
                locked = None;
                locked.replace((stripe, pairs.lock(stripe)));
            }
            if let Some((_, counts)) = &mut locked {
                let counts = &mut counts[place];
                if counts.is_empty() {
                    *counts = vec![0; pairs.width - latent as usize - 1];
                }
                for &row in &rows[start..end] {
                    let row = row as usize;
                    next[row] += 1;
                    for &other in &of_rows[next[row]..ends[row]] {
                        counts[(other - latent) as usize - 1] += 1;
                    }
                }
            }
            start = end;
        }
    }
}
