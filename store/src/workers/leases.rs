//! Keeps this worker's claims alive while their shards are filled, and watches the claims of others.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::claim::{ClaimRecord, claim_name};
use super::place::ClaimPlace;
use super::process::Process;
use crate::error::Result;

/// Beats per lease. More than one, because some may be lost.
const BEATS: u32 = 4;

/// Upper bound on the takeovers of a shard. A folder with more is not a claims folder.
const MOST_GENERATIONS: u32 = 10_000;

/// A monotonic clock: the time since some fixed moment.
type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// The result of claiming a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// This worker holds the claim. `ended` names earlier claimants that are known to have ended.
    Taken { ended: Vec<String> },
    /// Another worker holds the claim; its description, for messages.
    HeldBy(String),
}

/// The claims of one worker. They are released on drop.
#[derive(Debug)]
pub(crate) struct Leases {
    own: Arc<Own>,
    beating: Option<JoinHandle<()>>,
}

/// State shared by the worker and the thread that keeps its claims alive.
struct Own {
    place: Arc<dyn ClaimPlace>,
    /// The contents of the claims, apart from the beat.
    claim: ClaimRecord,
    clock: Clock,
    held: Mutex<BTreeMap<usize, Held>>,
    seen: Mutex<BTreeMap<usize, Seen>>,
    ended: Mutex<bool>,
    end: Condvar,
}

impl fmt::Debug for Own {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Own").field("claim", &self.claim).field("held", &self.held).finish_non_exhaustive()
    }
}

/// A claim of this worker.
#[derive(Debug)]
struct Held {
    generation: u32,
    beat: u64,
    is_lost: bool,
}

/// Another worker's claim as of its last change.
#[derive(Debug)]
struct Seen {
    generation: u32,
    bytes: Vec<u8>,
    since: Duration,
}

impl Leases {
    /// Creates the claims of a new worker, and a thread that keeps them alive.
    pub(crate) fn new(place: Arc<dyn ClaimPlace>, worker: String, lease: Duration) -> Self {
        let start = Instant::now();
        let mut leases = Self::with_clock(place, worker, lease, Arc::new(move || start.elapsed()));
        let own = Arc::clone(&leases.own);
        let spawned = thread::Builder::new().name("leases".to_owned()).spawn(move || own.keep_up(lease / BEATS));
        match spawned {
            Ok(beating) => leases.beating = Some(beating),
            // Other workers will take over shards that take longer than a lease.
            Err(error) => tracing::warn!(%error, "claims cannot be kept up: no thread can be started"),
        }
        leases
    }

    fn with_clock(place: Arc<dyn ClaimPlace>, worker: String, lease: Duration, clock: Clock) -> Self {
        let lease_seconds = lease.as_secs_f64();
        let claim = ClaimRecord { worker, process: Process::this(), lease_seconds, beat: 0, released: false };
        let own = Own {
            place,
            claim,
            clock,
            held: Mutex::default(),
            seen: Mutex::default(),
            ended: Mutex::default(),
            end: Condvar::new(),
        };
        Self { own: Arc::new(own), beating: None }
    }

    /// Claims a shard, unless another worker holds it and is not known to have ended.
    pub(crate) fn take(&self, shard: usize) -> Result<Claim> {
        let own = &self.own;
        let (mut generation, mut last, mut ended) = (0, None, Vec::new());
        while let Some(bytes) = own.place.read(&claim_name(shard, generation))? {
            ended.extend(ClaimRecord::read(&bytes).filter(ClaimRecord::is_of_the_dead).map(|claim| claim.worker));
            last = Some(bytes);
            generation += 1;
            if generation > MOST_GENERATIONS {
                return Ok(Claim::HeldBy("more workers than there can be; remove the claims by hand".to_owned()));
            }
        }
        if let Some(bytes) = last
            && let Some(holder) = own.holder(shard, generation - 1, bytes)
        {
            return Ok(Claim::HeldBy(holder));
        }
        if !own.place.create(&claim_name(shard, generation), &own.claim.to_bytes())? {
            return Ok(Claim::HeldBy("a worker that was faster".to_owned()));
        }
        if generation > 0 {
            tracing::info!(shard, "taken over from a worker that is gone");
        }
        own.lock_held().insert(shard, Held { generation, beat: 0, is_lost: false });
        Ok(Claim::Taken { ended })
    }

    /// Removes the claim on a shard that is now whole.
    pub(crate) fn finish(&self, shard: usize) -> Result<()> {
        let held = self.own.lock_held().remove(&shard);
        let Some(held) = held.filter(|held| !held.is_lost) else { return Ok(()) };
        for generation in (0..=held.generation).rev() {
            self.own.place.remove(&claim_name(shard, generation))?;
        }
        Ok(())
    }

    /// Removes the claims of all workers, once no shard is left to claim.
    pub(crate) fn clear(&self) -> Result<()> {
        self.own.place.clear()
    }

    /// How long a claim may stay unchanged before it expires.
    pub(crate) fn lease(&self) -> Duration {
        self.own.claim.lease()
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        *self.own.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.own.end.notify_all();
        if let Some(beating) = self.beating.take() {
            // The thread does nothing that could panic.
            let _ = beating.join();
        }
        let left: Vec<usize> = self.own.lock_held().keys().copied().collect();
        for shard in left {
            self.own.release(shard);
        }
    }
}

impl Own {
    fn lock_held(&self) -> MutexGuard<'_, BTreeMap<usize, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The generation of this worker's claim, unless it is lost.
    fn generation(&self, shard: usize) -> Option<u32> {
        self.lock_held().get(&shard).filter(|held| !held.is_lost).map(|held| held.generation)
    }

    /// Returns the holder of a claim, or `None` if the claim is over or has expired. Records when the claim last changed.
    fn holder(&self, shard: usize, generation: u32, bytes: Vec<u8>) -> Option<String> {
        let claim = ClaimRecord::read(&bytes);
        if claim.as_ref().is_some_and(ClaimRecord::is_over) {
            return None;
        }
        let now = (self.clock)();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match seen.get(&shard) {
            Some(seen) if seen.generation == generation && seen.bytes == bytes => seen.since,
            _ => now,
        };
        seen.insert(shard, Seen { generation, bytes, since });
        let lease = claim.as_ref().map_or_else(|| self.claim.lease(), ClaimRecord::lease);
        let holder = || claim.as_ref().map_or_else(|| "a worker that says nothing yet".to_owned(), ClaimRecord::holder);
        (now.saturating_sub(since) < lease).then(holder)
    }

    /// Renews the claims until the worker is dropped.
    fn keep_up(&self, every: Duration) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        while !*ended {
            (ended, _) = self.end.wait_timeout(ended, every).unwrap_or_else(PoisonError::into_inner);
            if !*ended {
                drop(ended);
                self.beat();
                ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Increments the counter of every claim once. A claim that another worker has taken over or removed is lost. A failed
    /// write is retried at the next beat.
    fn beat(&self) {
        let held: Vec<(usize, u32, u64)> = {
            let held = self.lock_held();
            let kept = held.iter().filter(|(_, held)| !held.is_lost);
            kept.map(|(shard, held)| (*shard, held.generation, held.beat + 1)).collect()
        };
        for (shard, generation, beat) in held {
            match self.beat_one(shard, generation, beat) {
                Ok(still_ours) => {
                    if let Some(held) = self.lock_held().get_mut(&shard) {
                        held.beat = beat;
                        held.is_lost = !still_ours;
                    }
                    if !still_ours {
                        tracing::info!(
                            shard,
                            "another worker took this shard over, since this one was silent for too long; it is the same shard whichever is first"
                        );
                    }
                }
                Err(error) => tracing::debug!(shard, %error, "the claim cannot be kept up just now"),
            }
        }
    }

    fn beat_one(&self, shard: usize, generation: u32, beat: u64) -> Result<bool> {
        let name = claim_name(shard, generation);
        let taken_over = self.place.read(&claim_name(shard, generation + 1))?.is_some();
        if taken_over || self.place.read(&name)?.is_none() {
            // If the shard was finished meanwhile, the claim is not lost.
            return Ok(self.generation(shard).is_none());
        }
        self.place.replace(&name, &ClaimRecord { beat, ..self.claim.clone() }.to_bytes())?;
        if self.generation(shard).is_none() {
            // The shard was finished in between, so no worker may wait for it.
            self.place.remove(&name)?;
        }
        Ok(true)
    }

    /// Releases an incomplete shard, so that another worker can take it at once.
    fn release(&self, shard: usize) {
        let held = self.lock_held().remove(&shard);
        if let Some(held) = held.filter(|held| !held.is_lost) {
            let released = ClaimRecord { released: true, ..self.claim.clone() };
            let written = self.place.replace(&claim_name(shard, held.generation), &released.to_bytes());
            if let Err(error) = written {
                tracing::debug!(shard, %error, "a claim cannot be released: others wait for its lease to end");
            }
        }
    }
}

#[cfg(test)]
mod tests;
