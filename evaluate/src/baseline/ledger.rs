//! One baseline while a run gets it together: what is kept of it, and what is yet to be computed.

use super::shard_sums::{Key, ShardSums};
use super::shelf::{Kept, Shelf};
use crate::error::EvaluateError;
use crate::session::share::Share;

/// A baseline of a run.
#[derive(Debug)]
pub(super) struct Ledger<K, S> {
    key: K,
    kept: Kept<S>,
    /// Places of the run's own shards whose sums are not kept, in order.
    missing: Vec<usize>,
}

impl<K: Key, S: ShardSums> Ledger<K, S> {
    /// What is on the shelf of it, as far as `fits`, and sums of nothing for those of the run's own shards that are not; `empty` is
    /// given their numbers.
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

    /// Places whose sums are to be computed.
    pub(super) fn missing(&self) -> &[usize] {
        &self.missing
    }

    /// Numbers of shards that another run is to compute.
    pub(super) fn missing_elsewhere<'own>(&'own self, kept_in: &'own Shelf) -> impl Iterator<Item = usize> + 'own {
        self.kept.shards.iter().zip(&kept_in.shards).filter(|(own, _)| own.is_none()).map(|(_, &shard)| shard)
    }

    /// The sums at a place that are being computed; `None` where they are kept.
    pub(super) fn computing(&mut self, place: usize) -> Option<&mut S> {
        self.missing.binary_search(&place).ok()?;
        self.kept.shards.get_mut(place)?.as_mut()
    }

    /// Keeps what was computed: a run over the whole cache in one file of all shards, in place of pieces, and a part in a piece.
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

    /// The sums of all shards that there are, in order.
    pub(super) fn into_all(self) -> Vec<S> {
        self.kept.shards.into_iter().flatten().collect()
    }
}
