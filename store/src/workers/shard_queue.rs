//! Chooses the next shard to fill.

use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::leases::Claim;
use super::write_mode::Worker;
use crate::error::Result;
use crate::format::plan::shard_name;
use crate::format::shard_record::{SHARDS_FOLDER, WrittenShard};
use crate::format::tables::sequences::Sequence;
use crate::format::tables::tokens::Tokens;
use crate::fs::staged::{partial_of, remove_entry};
use crate::write::core::WriterCore;

/// The longest interval between looks at the claims of others.
const SELDOM: Duration = Duration::from_secs(2);

/// How often a waiting worker checks whether to stop.
const LOOK: Duration = Duration::from_millis(50);

/// The shards of a range that are not whole, handed out one at a time. With other workers, each shard is claimed first. A shard claimed by another worker is waited for, or taken over once that worker is gone.
#[derive(Debug)]
pub struct ShardQueue {
    core: Arc<WriterCore>,
    /// Shards that were not whole at the last look, the next one first.
    left: Vec<usize>,
    /// Tokens of shards that other workers have filled since the last call of `take_done_by_others`.
    done_by_others: u64,
    /// Whether the wait for other workers has been logged.
    has_told: bool,
}

impl ShardQueue {
    pub(crate) fn new(core: Arc<WriterCore>, range: Range<usize>, is_whole: impl Fn(usize) -> bool) -> Result<Self> {
        let mut left: Vec<usize> = range.collect();
        if let Some(worker) = core.mode.worker() {
            worker.refresh(&left)?;
        }
        for shard in std::mem::take(&mut left) {
            let whole = match core.mode.worker() {
                None => is_whole(shard),
                Some(worker) => worker.seems_whole(&core, shard)?,
            };
            if !whole {
                left.push(shard);
            }
        }
        // Workers that start together begin at different shards.
        if let (Some(worker), false) = (core.mode.worker(), left.is_empty()) {
            let start = u64::from_str_radix(&worker.name, 16).unwrap_or_default() as usize % left.len();
            left.rotate_left(start);
        }
        Ok(Self { core, left, done_by_others: 0, has_told: false })
    }

    /// Returns whether no shard is left to fill.
    pub fn is_over(&self) -> bool {
        self.left.is_empty()
    }

    /// Returns the tokens of the shards that are left.
    pub fn tokens(&self) -> u64 {
        // Counts in a plan are untrusted, so the sum must not overflow.
        let tokens = self.left.iter().map(|shard| self.core.plan.plan().shards[*shard].counts.tokens);
        tokens.fold(0, u64::saturating_add)
    }

    /// Returns the tokens that other workers have filled since the last call.
    pub fn take_done_by_others(&mut self) -> u64 {
        std::mem::take(&mut self.done_by_others)
    }

    /// Returns the sequences and tokens of a shard that was handed out.
    pub fn sequences_and_tokens(&self, shard: usize) -> Result<(Vec<Sequence>, Tokens)> {
        self.core.plan.sequences_and_tokens(shard)
    }

    /// Returns the next shard to fill; `None` when all are whole or `stop` returns `true`.
    pub fn next(&mut self, stop: &dyn Fn() -> bool) -> Result<Option<usize>> {
        let core = Arc::clone(&self.core);
        let Some(worker) = core.mode.worker() else {
            let next = if stop() || self.left.is_empty() { None } else { Some(self.left.remove(0)) };
            return Ok(next);
        };
        while !self.left.is_empty() && !stop() {
            worker.refresh(&self.left)?;
            let mut holder = None;
            let mut place = 0;
            while let Some(&shard) = self.left.get(place) {
                if stop() {
                    return Ok(None);
                }
                if worker.seems_whole(&core, shard)? {
                    self.forget(place);
                    continue;
                }
                match worker.leases.take(shard)? {
                    Claim::HeldBy(by) => holder = Some((shard, by)),
                    // It may have become whole before this worker got the claim.
                    Claim::Taken { .. } if worker.complete(&core, shard)? => {
                        worker.leases.finish(shard)?;
                        self.forget(place);
                        continue;
                    }
                    Claim::Taken { ended } => {
                        self.left.remove(place);
                        worker.prepare(&core, shard, &ended)?;
                        return Ok(Some(shard));
                    }
                }
                place += 1;
            }
            if let Some((shard, by)) = holder {
                self.tell_of_wait(shard, &by);
                wait(worker.leases.lease() / 20, stop);
            }
        }
        Ok(None)
    }

    fn forget(&mut self, place: usize) {
        let shard = self.left.remove(place);
        let tokens = self.core.plan.plan().shards[shard].counts.tokens;
        self.done_by_others = self.done_by_others.saturating_add(tokens);
    }

    fn tell_of_wait(&mut self, shard: usize, holder: &str) {
        if !std::mem::replace(&mut self.has_told, true) {
            let left = self.left.len();
            tracing::info!(left, shard, holder, "waiting for shards that other workers are filling");
        }
    }
}

fn wait(how_long: Duration, stop: &dyn Fn() -> bool) {
    let mut left = how_long.clamp(LOOK, SELDOM);
    while !left.is_zero() && !stop() {
        let nap = left.min(LOOK);
        thread::sleep(nap);
        left -= nap;
    }
}

impl Worker {
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
