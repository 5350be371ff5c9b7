//! Forward pass and writing side by side, over a bounded channel.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;

use hayloft_store::{CacheWriter, Predictions, WrittenShard};
use hayloft_terminal::Gauge;

use super::forward::{Batch, Forward};
use super::writing::{Work, bytes, write_shards};
use crate::error::HarvestError;

/// Pieces of work that may wait: while one is being written, the next is there and another is being made.
const WAITING: usize = 2;

/// What a run has done.
#[derive(Debug, Default)]
pub(super) struct Filled {
    pub(super) shards: usize,
    pub(super) tokens: u64,
    pub(super) bytes: u64,
}

/// Fills planned shards in the order given.
///
/// An error on either side stops both. Shards that are whole by then stay; of an unfinished one nothing is left.
pub(super) fn fill(
    cache: &mut CacheWriter,
    shards: &[usize],
    forward: &Forward,
    gauge: &Gauge,
) -> Result<Filled, HarvestError> {
    let (sender, receiver) = sync_channel(WAITING);
    let (finished_sender, finished) = channel();
    let mut filled = Filled::default();
    thread::scope(|scope| {
        let writing = scope.spawn(move || write_shards(&receiver, &finished_sender, gauge));
        let forwarding = forward_shards(cache, shards, forward, gauge, &sender, &finished, &mut filled);
        // By this the writing thread knows that no more comes.
        drop(sender);
        // Where writing failed, the forward pass stopped because of it: the first cause is the one to tell.
        writing.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        forwarding
    })?;
    record_finished(cache, &finished, &mut filled)?;
    Ok(filled)
}

/// Runs the model over each shard, and sends what comes of it.
fn forward_shards(
    cache: &mut CacheWriter,
    shards: &[usize],
    forward: &Forward,
    gauge: &Gauge,
    sender: &SyncSender<Work>,
    finished: &Receiver<WrittenShard>,
    filled: &mut Filled,
) -> Result<(), HarvestError> {
    let send = |work| sender.send(work).map_err(|_| HarvestError::WritingStopped);
    for shard in shards {
        let (sequences, tokens) = cache.plan_shard(*shard)?;
        send(Work::Begin(cache.begin_shard(*shard)?))?;
        let mut predictions: Option<Predictions> = None;
        let mut first_row = 0;
        for group in sequences.chunk_by(|one, next| one.row_group == next.row_group) {
            let lengths: Vec<usize> = group.iter().map(|sequence| sequence.length as usize).collect();
            let end_row = first_row + lengths.iter().sum::<usize>();
            let batch = Batch { tokens: &tokens.token[first_row..end_row], lengths: &lengths };
            let made = forward.batch(batch, |site, bits| send(Work::Activations(site.clone(), bits)))?;
            if let Some(made) = made {
                append(predictions.get_or_insert_default(), made);
            }
            gauge.advance((end_row - first_row) as u64);
            first_row = end_row;
        }
        send(Work::End(predictions))?;
        record_finished(cache, finished, filled)?;
    }
    Ok(())
}

/// Adds the predictions of the next row group to those of the shard.
fn append(shard: &mut Predictions, next: Predictions) {
    shard.top_k = next.top_k;
    shard.loss.extend(next.loss);
    shard.logsumexp.extend(next.logsumexp);
    shard.entropy.extend(next.entropy);
    shard.top_ids.extend(next.top_ids);
    shard.top_logits.extend(next.top_logits);
}

/// Tells the cache of the shards that have been written meanwhile.
fn record_finished(
    cache: &mut CacheWriter,
    finished: &Receiver<WrittenShard>,
    filled: &mut Filled,
) -> Result<(), HarvestError> {
    for shard in finished.try_iter() {
        filled.shards += 1;
        filled.tokens += shard.contents().counts.tokens;
        filled.bytes += bytes(&shard);
        cache.record(shard)?;
    }
    Ok(())
}
