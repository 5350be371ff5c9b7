//! Overlaps forward pass and writing with bounded channels.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;

use hayloft_model::{append_bytes, in_order};
use hayloft_runtime::{Gauge, Stopping};
use hayloft_store::{CacheWriter, KeptPredictions, Predictions, ShardQueue, SiteName, WrittenShard};

use super::forward::{Forward, StepDone};
use super::steps::{Completes, send_steps};
use super::writing::{WriterMessage, bytes, write_shards};
use crate::error::HarvestError;

/// Capacity of the channel: one item is written while one waits and another is being made.
const WAITING: usize = 2;

/// The work done by a run.
#[derive(Debug, Default)]
pub(super) struct FilledShards {
    pub(super) shards: usize,
    pub(super) tokens: u64,
    pub(super) bytes: u64,
}

impl FilledShards {
    /// Adds a shard.
    fn add(&mut self, shard: &WrittenShard) {
        self.shards += 1;
        self.tokens += shard.contents().counts.tokens;
        self.bytes += bytes(shard);
    }
}

/// Fills planned shards in turn.
///
/// An error on either side stops both, as does a stop request. Shards complete by then remain; an unfinished shard
/// leaves nothing behind.
pub(super) fn fill(
    cache: &mut CacheWriter,
    queue: ShardQueue,
    forward: &Forward,
    stopping: &Stopping,
    gauge: &Gauge,
) -> Result<FilledShards, HarvestError> {
    let (sender, receiver) = sync_channel(WAITING);
    let (finished_sender, finished) = channel();
    let mut filled = FilledShards::default();
    // EndOfWriting a wait for another worker's shard once the writing thread has ended.
    let writes = AtomicBool::new(true);
    let stop = || stopping.is_asked() || !writes.load(Ordering::Acquire);
    thread::scope(|scope| {
        let ends = EndOfWriting(&writes);
        let writing = scope.spawn(move || {
            let _ends = ends;
            write_shards(&receiver, &finished_sender, gauge)
        });
        let mut assembly = Assembly::new(forward, sender);
        let forwarding = in_order(
            forward.device(),
            |jobs| send_steps(queue, forward.device(), &stop, gauge, jobs),
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
        // Closes the channel, so that the writing thread ends.
        drop(assembly);
        // If writing failed, the forward pass stopped because of it, so the writing error comes first.
        writing.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        forwarding
    })?;
    record_finished(cache, &finished, &mut filled)?;
    if stopping.is_asked() { Err(HarvestError::Stopped) } else { Ok(filled) }
}

/// Signals the end of the writing thread, also on panic.
struct EndOfWriting<'a>(&'a AtomicBool);

impl Drop for EndOfWriting<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Assembles consecutive steps into row groups, and sends them to the writing thread.
struct Assembly {
    sender: SyncSender<WriterMessage>,
    /// The current shard.
    shard: Option<usize>,
    /// For each site, the bytes of the row group so far.
    groups: Vec<(SiteName, Vec<u8>)>,
    /// All logits of the row group so far, if kept.
    logits: Vec<u8>,
    /// Predictions of the shard so far.
    predictions: Option<Predictions>,
    kept: Option<KeptPredictions>,
}

impl Assembly {
    fn new(forward: &Forward, sender: SyncSender<WriterMessage>) -> Self {
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
            self.send(WriterMessage::Begin(cache.begin_shard(step.shard)?))?;
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
            // The next row group has a similar size.
            let next = Vec::with_capacity(group.len());
            let work = WriterMessage::Activations(site.clone(), std::mem::replace(group, next));
            self.send(work)?;
        }
        if self.kept.is_some_and(|kept| kept.full_logits) {
            let next = Vec::with_capacity(self.logits.len());
            let work = WriterMessage::Logits(std::mem::replace(&mut self.logits, next));
            self.send(work)?;
        }
        if step.completes == Completes::Shard {
            let predictions = self.predictions.take();
            self.send(WriterMessage::End(predictions))?;
        }
        Ok(())
    }

    fn send(&self, work: WriterMessage) -> Result<(), HarvestError> {
        self.sender.send(work).map_err(|_| HarvestError::WritingStopped)
    }
}

/// Records finished shards in the cache.
fn record_finished(
    cache: &mut CacheWriter,
    finished: &Receiver<WrittenShard>,
    filled: &mut FilledShards,
) -> Result<(), HarvestError> {
    for shard in finished.try_iter() {
        filled.add(&shard);
        cache.record(shard)?;
    }
    Ok(())
}
