//! One baseline during a run: the sums read from disk and those still to compute.

use super::shard_sums::{Key, ShardSums};
use super::store::{BaselineStore, StoredSums};
use crate::error::EvaluateError;
use crate::session::shard_range::ShardRange;

#[derive(Debug)]
pub(super) struct PendingBaseline<K, S> {
    key: K,
    kept: StoredSums<S>,
    /// Indices of the run's shards without stored sums, in order.
    missing: Vec<usize>,
}

impl<K: Key, S: ShardSums> PendingBaseline<K, S> {
    /// Reads the stored sums accepted by `fits`. Initialises those missing from the run's own shards with `empty`,
    /// which takes the shard's number.
    pub(super) fn open(
        store: &BaselineStore,
        key: K,
        range: &ShardRange,
        fits: impl Fn(&S) -> bool,
        empty: impl Fn(usize) -> S,
    ) -> Result<Self, EvaluateError> {
        let mut kept = store.get::<K, S>(&key)?;
        for own in &mut kept.shards {
            if own.as_ref().is_some_and(|own| !fits(own)) {
                *own = None;
            }
        }
        let missing: Vec<usize> = range.places.clone().filter(|&place| kept.shards[place].is_none()).collect();
        for &place in &missing {
            kept.shards[place] = Some(empty(store.shards[place]));
        }
        Ok(Self { key, kept, missing })
    }

    /// Indices of the shards to compute.
    pub(super) fn missing(&self) -> &[usize] {
        &self.missing
    }

    /// Numbers of the missing shards that other runs have to compute.
    pub(super) fn missing_elsewhere<'own>(
        &'own self,
        store: &'own BaselineStore,
    ) -> impl Iterator<Item = usize> + 'own {
        self.kept.shards.iter().zip(&store.shards).filter(|(own, _)| own.is_none()).map(|(_, &shard)| shard)
    }

    /// The sums being computed for the shard at an index; `None` if they were read from disk.
    pub(super) fn computing(&mut self, place: usize) -> Option<&mut S> {
        self.missing.binary_search(&place).ok()?;
        self.kept.shards.get_mut(place)?.as_mut()
    }

    /// Stores the computed sums. A run over the whole cache writes one file of all shards and removes the pieces; a
    /// part writes a piece.
    pub(super) fn keep(&self, store: &BaselineStore, range: &ShardRange) -> Result<(), EvaluateError> {
        match range.part {
            None if !self.missing.is_empty() || !self.kept.pieces.is_empty() => {
                store.put(&self.key, &self.own(range))?;
                BaselineStore::remove(&self.kept.pieces);
                Ok(())
            }
            Some(part) if !self.missing.is_empty() => store.put_piece(&self.key, part, &self.own(range)),
            _ => Ok(()),
        }
    }

    /// The sums of the run's own shards, in order.
    pub(super) fn own(&self, range: &ShardRange) -> Vec<S> {
        self.kept.shards.get(range.places.clone()).unwrap_or_default().iter().flatten().cloned().collect()
    }

    /// The available sums of all shards, in order.
    pub(super) fn into_all(self) -> Vec<S> {
        self.kept.shards.into_iter().flatten().collect()
    }
}
