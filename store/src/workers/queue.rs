//! Chooses the next shard that a worker fills.

use std::thread;
use std::time::Duration;

use super::leases::Claim;
use super::worker::Worker;
use crate::error::Result;
use crate::format::plan::shard_name;
use crate::format::shard_record::{SHARDS_FOLDER, WrittenShard};
use crate::fs::staged::{partial_of, remove_entry};
use crate::write::core::WriterCore;

/// The longest interval between looks at the claims of others.
const SELDOM: Duration = Duration::from_secs(2);

/// How often a waiting worker checks whether to stop.
const LOOK: Duration = Duration::from_millis(50);

fn wait(how_long: Duration, stop: &dyn Fn() -> bool) {
    let mut left = how_long.clamp(LOOK, SELDOM);
    while !left.is_zero() && !stop() {
        let nap = left.min(LOOK);
        thread::sleep(nap);
        left -= nap;
    }
}

/// What a queue has seen of the other workers.
#[derive(Debug, Default)]
pub(crate) struct Others {
    /// Tokens of shards that they have filled since the number was last taken.
    pub(crate) done: u64,
    /// Whether the wait for them has been logged.
    has_told: bool,
}

impl Others {
    fn forget(&mut self, cache: &WriterCore, left: &mut Vec<usize>, place: usize) {
        let shard = left.remove(place);
        let tokens = cache.plan.plan().shards[shard].counts.tokens;
        self.done = self.done.saturating_add(tokens);
    }

    fn tell_of_wait(&mut self, left: usize, shard: usize, holder: &str) {
        if !std::mem::replace(&mut self.has_told, true) {
            tracing::info!(left, shard, holder, "waiting for shards that other workers are filling");
        }
    }
}

impl Worker {
    /// Returns the shards that are not whole, in the order in which this worker tries them.
    pub(crate) fn missing(&self, cache: &WriterCore, shards: Vec<usize>) -> Result<Vec<usize>> {
        self.refresh(&shards)?;
        let mut left = Vec::new();
        for shard in shards {
            if !self.seems_whole(cache, shard)? {
                left.push(shard);
            }
        }
        // Workers that start together begin at different shards.
        if !left.is_empty() {
            let start = u64::from_str_radix(&self.name, 16).unwrap_or_default() as usize % left.len();
            left.rotate_left(start);
        }
        Ok(left)
    }

    /// Claims one of the shards that are `left`, and returns it; `None` when all are whole or `stop` returns `true`.
    pub(crate) fn next(
        &self,
        cache: &WriterCore,
        left: &mut Vec<usize>,
        others: &mut Others,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<usize>> {
        while !left.is_empty() && !stop() {
            self.refresh(left)?;
            let mut holder = None;
            let mut place = 0;
            while let Some(&shard) = left.get(place) {
                if stop() {
                    return Ok(None);
                }
                if self.seems_whole(cache, shard)? {
                    others.forget(cache, left, place);
                    continue;
                }
                match self.leases.take(shard)? {
                    Claim::HeldBy(by) => holder = Some((shard, by)),
                    // It may have become whole before this worker got the claim.
                    Claim::Taken { .. } if self.complete(cache, shard)? => {
                        self.leases.finish(shard)?;
                        others.forget(cache, left, place);
                        continue;
                    }
                    Claim::Taken { ended } => {
                        left.remove(place);
                        self.prepare(cache, shard, &ended)?;
                        return Ok(Some(shard));
                    }
                }
                place += 1;
            }
            if let Some((shard, by)) = holder {
                others.tell_of_wait(left.len(), shard, &by);
                wait(self.leases.lease() / 20, stop);
            }
        }
        Ok(None)
    }

    /// Updates which of these shards are whole with few requests. Does nothing for a local folder.
    fn refresh(&self, shards: &[usize]) -> Result<()> {
        self.bucket.as_ref().map_or(Ok(()), |bucket| bucket.refresh(shards))
    }

    /// Whether a shard was whole at the last look.
    fn seems_whole(&self, cache: &WriterCore, shard: usize) -> Result<bool> {
        match &self.bucket {
            Some(bucket) => Ok(bucket.was_whole(shard)),
            None => Ok(WrittenShard::find(&cache.folder, shard, &cache.plan, &cache.settings)?.is_some()),
        }
    }

    /// Whether a claimed shard is whole, or can be completed without filling it again.
    fn complete(&self, cache: &WriterCore, shard: usize) -> Result<bool> {
        match &self.bucket {
            Some(bucket) => bucket.publish_what_is_decided(cache, shard),
            None => self.seems_whole(cache, shard),
        }
    }

    /// Prepares to fill a claimed shard. Removes unfinished files of workers that are known to have ended. A worker that is
    /// only silent may resume, so its folder stays.
    pub(super) fn prepare(&self, cache: &WriterCore, shard: usize, ended: &[String]) -> Result<()> {
        if let Some(bucket) = &self.bucket {
            bucket.bring_plan_of(&cache.plan, shard)?;
        }
        for worker in ended {
            if let Some(bucket) = &self.bucket {
                bucket.remove_attempt(shard, worker)?;
            } else {
                let destination = cache.folder.join(SHARDS_FOLDER).join(shard_name(shard));
                remove_entry(cache.disk.as_ref(), &partial_of(worker, &destination))?;
            }
        }
        Ok(())
    }
}
