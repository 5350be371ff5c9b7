//! The thread that encodes and writes the results of the forward pass.

use std::sync::mpsc::{Receiver, Sender};

use hayloft_runtime::{Gauge, Phase};
use hayloft_store::{Predictions, ShardWriter, SiteName, StoreError, WrittenShard};

/// A message from the forward pass. The order for each shard is: its writer, its row groups, its end.
pub(super) enum WriterMessage {
    /// A shard begins.
    Begin(ShardWriter),
    /// One site's activations of the next row group, `[rows, d_model]` little-endian words.
    Activations(SiteName, Vec<u8>),
    /// All logits of the next row group, `[rows, vocab]` little-endian words.
    Logits(Vec<u8>),
    /// The shard is complete.
    End(Option<Predictions>),
}

/// Encodes and writes until the channel closes, and reports each finished shard.
///
/// A shard without an end is dropped together with its files.
pub(super) fn write_shards(
    work: &Receiver<WriterMessage>,
    finished: &Sender<WrittenShard>,
    gauge: &Gauge,
) -> Result<(), StoreError> {
    let mut open: Option<ShardWriter> = None;
    for piece in work {
        match piece {
            WriterMessage::Begin(writer) => open = Some(writer),
            WriterMessage::Activations(site, bits) => {
                if let Some(writer) = &mut open {
                    let _phase = Phase::Write.begin(0);
                    writer.write_activations(&site, bits)?;
                }
            }
            WriterMessage::Logits(bits) => {
                if let Some(writer) = &mut open {
                    let _phase = Phase::Write.begin(0);
                    writer.write_logits(bits)?;
                }
            }
            WriterMessage::End(predictions) => {
                if let Some(writer) = open.take() {
                    let _phase = Phase::Write.begin(0);
                    let shard = writer.finish(predictions)?;
                    gauge.wrote(bytes(&shard));
                    // The receiver is gone only if the forward pass failed. The shard is complete all the same.
                    let _ = finished.send(shard);
                }
            }
        }
    }
    Ok(())
}

/// Returns the size of a shard's files in bytes.
pub(super) fn bytes(shard: &WrittenShard) -> u64 {
    shard.contents().files.iter().map(|file| file.bytes).sum()
}
