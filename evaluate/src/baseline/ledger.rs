//! One baseline during a run: the sums read from disk and those still to compute.

use super::shard_sums::{Key, ShardSums};
use super::shelf::{Kept, Shelf};
use crate::error::EvaluateError;
use crate::session::share::Share;

#[derive(Debug)]
pub(super) struct Ledger<K, S> {
    key: K,
    kept: Kept<S>,
    /// Indices of the run's shards without stored sums, in order.
    missing: Vec<usize>,
}

impl<K: Key, S: ShardSums> Ledger<K, S> {
    /// Reads the stored sums accepted by `fits`. Initialises those missing from the run's own shards with `empty`,
    /// which takes the shard's number.
    pub(super) fn open(
        shelf: &Shelf,
        key: K,
        share: &Share,
        fits: impl Fn(&S) -> bool,
        empty: impl Fn(usize) -> S,
    ) -> Result<Self, EvaluateError> {
        let mut kept = shelf.get::<K, S>(&key)?;
        for own in &mut kept.shards {
            if own.as_ref().is_some_and(|own| !fits(own)) {
                *own = None;
            }
        }
        let missing: Vec<usize> = share.places.clone().filter(|&place| kept.shards[place].is_none()).collect();
        for &place in &missing {
            kept.shards[place] = Some(empty(shelf.shards[place]));
        }
        Ok(Self { key, kept, missing })
    }

    /// Indices of the shards to compute.
    pub(super) fn missing(&self) -> &[usize] {
        &self.missing
    }

    /// Numbers of the missing shards that other runs have to compute.
    pub(super) fn missing_elsewhere<'own>(&'own self, kept_in: &'own Shelf) -> impl Iterator<Item = usize> + 'own {
        self.kept.shards.iter().zip(&kept_in.shards).filter(|(own, _)| own.is_none()).map(|(_, &shard)| shard)
    }

    /// The sums being computed for the shard at an index; `None` if they were read from disk.
    pub(super) fn computing(&mut self, place: usize) -> Option<&mut S> {
        self.missing.binary_search(&place).ok()?;
        self.kept.shards.get_mut(place)?.as_mut()
    }

    /// Stores the computed sums. A run over the whole cache writes one file of all shards and removes the pieces; a
    /// part writes a piece.
    pub(super) fn keep(&self, kept_in: &Shelf, share: &Share) -> Result<(), EvaluateError> {
        match share.part {
            None if !self.missing.is_empty() || !self.kept.pieces.is_empty() => {
                kept_in.put(&self.key, &self.own(share))?;
                Shelf::remove(&self.kept.pieces);
                Ok(())
            }
            Some(part) if !self.missing.is_empty() => kept_in.put_piece(&self.key, part, &self.own(share)),
            _ => Ok(()),
        }
    }

    /// The sums of the run's own shards, in order.
    pub(super) fn own(&self, share: &Share) -> Vec<S> {
        self.kept.shards.get(share.places.clone()).unwrap_or_default().iter().flatten().cloned().collect()
    }

    /// The available sums of all shards, in order.
    pub(super) fn into_all(self) -> Vec<S> {
        self.kept.shards.into_iter().flatten().collect()
    }
}
