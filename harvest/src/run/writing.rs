//! The thread that encodes and writes what the forward pass makes.

use std::sync::mpsc::{Receiver, Sender};

use hayloft_runtime::{Gauge, Phase};
use hayloft_store::{Predictions, ShardWriter, SiteName, StoreError, WrittenShard};

/// What the forward pass hands over, in this order for each shard: its writer, its row groups, its end.
pub(super) enum Work {
    /// A shard begins.
    Begin(ShardWriter),
    /// One site's activations of the next row group, `[rows, d_model]` little-endian words.
    Activations(SiteName, Vec<u8>),
    /// All logits of the next row group, `[rows, vocab]` little-endian words.
    Logits(Vec<u8>),
    /// The shard is whole.
    End(Option<Predictions>),
}

/// Encodes and writes until no more work comes, and reports each shard that is finished.
///
/// A shard whose end never comes is dropped, and with it what was written of it.
pub(super) fn write_shards(
    work: &Receiver<Work>,
    finished: &Sender<WrittenShard>,
    gauge: &Gauge,
) -> Result<(), StoreError> {
    let mut open: Option<ShardWriter> = None;
    for piece in work {
        match piece {
            Work::Begin(writer) => open = Some(writer),
            Work::Activations(site, bits) => {
                if let Some(writer) = &mut open {
                    let _phase = Phase::Write.begin(0);
                    writer.write_activations(&site, bits)?;
                }
            }
            Work::Logits(bits) => {
                if let Some(writer) = &mut open {
                    let _phase = Phase::Write.begin(0);
                    writer.write_logits(bits)?;
                }
            }
            Work::End(predictions) => {
                if let Some(writer) = open.take() {
                    let _phase = Phase::Write.begin(0);
                    let shard = writer.finish(predictions)?;
                    gauge.wrote(bytes(&shard));
                    // Nobody listens any more only where the forward pass has failed; the shard is whole all the same.
                    let _ = finished.send(shard);
                }
            }
        }
    }
    Ok(())
}

/// The bytes of a shard's files.
pub(super) fn bytes(shard: &WrittenShard) -> u64 {
    shard.contents().files.iter().map(|file| file.bytes).sum()
}
