//! Forward pass and writing side by side, over bounded channels.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;

use hayloft_model::{append_bytes, in_order};
use hayloft_runtime::{Gauge, Stopping};
use hayloft_store::{CacheWriter, KeptPredictions, Predictions, SiteName, Turns, WrittenShard};
use serde::Deserialize;

use super::forward::{Forward, StepDone};
use super::steps::{Completes, hand_over};
use super::writing::{Work, bytes, write_shards};
use crate::error::HarvestError;

/// Pieces of work that may wait: while one is being written, the next is there and another is being made.
const WAITING: usize = 2;

/// What a run has done.
#[derive(Debug, Default)]
pub(crate) struct Filled {
    pub(super) shards: usize,
    pub(super) tokens: u64,
    pub(super) bytes: u64,
}

impl Filled {
    /// Counts a shard.
    fn add(&mut self, shard: &WrittenShard) {
        self.shards += 1;
        self.tokens += shard.contents().counts.tokens;
        self.bytes += bytes(shard);
    }

    /// Counts what another process has done, from the summary that it printed as JSON.
    pub(crate) fn add_printed(&mut self, summary: &str) {
        #[derive(Deserialize)]
        struct Printed {
            filled_shards: usize,
            tokens: u64,
            bytes: u64,
        }
        if let Ok(Printed { filled_shards, tokens, bytes }) = serde_json::from_str(summary) {
            self.shards += filled_shards;
            self.tokens += tokens;
            self.bytes += bytes;
        }
    }
}

/// Fills planned shards, as their turns come.
///
/// An error on either side stops both, and so does being asked to. Shards that are whole by then stay; of an unfinished one
/// nothing is left.
pub(super) fn fill(
    cache: &mut CacheWriter,
    turns: Turns,
    forward: &Forward,
    stopping: &Stopping,
    gauge: &Gauge,
) -> Result<Filled, HarvestError> {
    let (sender, receiver) = sync_channel(WAITING);
    let (finished_sender, finished) = channel();
    let mut filled = Filled::default();
    // Who waits for another's shard is to know that what it is waiting for would not be written.
    let writes = AtomicBool::new(true);
    let stop = || stopping.is_asked() || !writes.load(Ordering::Acquire);
    thread::scope(|scope| {
        let ends = Ends(&writes);
        let writing = scope.spawn(move || {
            let _ends = ends;
            write_shards(&receiver, &finished_sender, gauge)
        });
        let mut assembly = Assembly::new(forward, sender);
        let forwarding = in_order(
            forward.device(),
            |jobs| hand_over(turns, forward.device(), &stop, gauge, jobs),
            |step| forward.step(step),
            |done| {
                gauge.advance(done.step.rows as u64);
                let whole = done.step.completes == Completes::Shard;
                if stopping.is_asked() && !whole {
                    return Err(HarvestError::Stopped);
                }
                assembly.add(cache, done)?;
                if whole { record_finished(cache, &finished, &mut filled) } else { Ok(()) }
            },
        );
        // By this the writing thread knows that no more comes.
        drop(assembly);
        // Where writing failed, the forward pass stopped because of it: the first cause is the one to tell.
        writing.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        forwarding
    })?;
    record_finished(cache, &finished, &mut filled)?;
    if stopping.is_asked() { Err(HarvestError::Stopped) } else { Ok(filled) }
}

/// Takes note that the thread that writes has ended, by whichever way.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Puts steps, which come in order, together to row groups, and sends these to be written.
struct Assembly {
    sender: SyncSender<Work>,
    /// The shard that is under way.
    shard: Option<usize>,
    /// Of each site: the bits of the row group so far.
    groups: Vec<(SiteName, Vec<u8>)>,
    /// All logits of the row group so far, if they are kept.
    logits: Vec<u8>,
    /// Of the shard so far.
    predictions: Option<Predictions>,
    kept: Option<KeptPredictions>,
}

impl Assembly {
    fn new(forward: &Forward, sender: SyncSender<Work>) -> Self {
        Self {
            sender,
            shard: None,
            groups: forward.sites().map(|site| (site.clone(), Vec::new())).collect(),
            logits: Vec::new(),
            predictions: None,
            kept: forward.kept(),
        }
    }

    fn add(&mut self, cache: &CacheWriter, done: StepDone) -> Result<(), HarvestError> {
        let StepDone { step, activations, predictions, logits } = done;
        if self.shard != Some(step.shard) {
            self.shard = Some(step.shard);
            self.send(Work::Begin(cache.begin_shard(step.shard)?))?;
        }
        for ((_, group), activations) in self.groups.iter_mut().zip(&activations) {
            append_bytes(activations, group)?;
        }
        self.logits.extend(logits);
        if let (Some(next), Some(kept)) = (predictions, self.kept) {
            let top_k = kept.top_k as usize;
            let shard = self.predictions.get_or_insert_with(|| Predictions { top_k, ..Predictions::default() });
            shard.loss.extend(next.loss);
            shard.logsumexp.extend(next.logsumexp);
            shard.entropy.extend(next.entropy);
            shard.top_ids.extend(next.top_ids);
            shard.top_logits.extend(next.top_logits);
        }
        if step.completes == Completes::Nothing {
            return Ok(());
        }
        for place in 0..self.groups.len() {
            let (site, group) = &mut self.groups[place];
            // The next row group is about as large.
            let next = Vec::with_capacity(group.len());
            let work = Work::Activations(site.clone(), std::mem::replace(group, next));
            self.send(work)?;
        }
        if self.kept.is_some_and(|kept| kept.full_logits) {
            let next = Vec::with_capacity(self.logits.len());
            let work = Work::Logits(std::mem::replace(&mut self.logits, next));
            self.send(work)?;
        }
        if step.completes == Completes::Shard {
            let predictions = self.predictions.take();
            self.send(Work::End(predictions))?;
        }
        Ok(())
    }

    fn send(&self, work: Work) -> Result<(), HarvestError> {
        self.sender.send(work).map_err(|_| HarvestError::WritingStopped)
    }
}

/// Tells the cache of the shards that have been written meanwhile.
fn record_finished(
    cache: &mut CacheWriter,
    finished: &Receiver<WrittenShard>,
    filled: &mut Filled,
) -> Result<(), HarvestError> {
    for shard in finished.try_iter() {
        filled.add(&shard);
        cache.record(shard)?;
    }
    Ok(())
}
