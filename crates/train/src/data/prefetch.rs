//! Prefetches batches on a separate thread.

use std::sync::mpsc::sync_channel;

use hayloft_rows::stream::{Batch, Batches};
use hayloft_store::Cache;

use crate::error::TrainError;

/// Number of prefetched batches. One more is being drawn and one is in use.
const PREFETCHED: usize = 2;

/// Calls `work` with the batch of each step, in order, while a thread reads and draws the following batches. `keeps_state`
/// selects the steps after which the batch state is kept.
pub(crate) fn prefetch(
    mut batches: Batches<&Cache>,
    steps: std::ops::Range<u64>,
    keeps_state: impl Fn(u64) -> bool + Send,
    mut work: impl FnMut(u64, Batch) -> Result<(), TrainError>,
) -> Result<(), TrainError> {
    std::thread::scope(|scope| {
        let (sender, drawn) = sync_channel(PREFETCHED);
        let own = steps.clone();
        let reader = scope.spawn(move || {
            for step in own {
                let batch = batches.draw(keeps_state(step));
                let failed = batch.is_err();
                // The receiver was dropped, so the other side reports the error.
                if sender.send(batch).is_err() || failed {
                    return;
                }
            }
        });
        for (step, batch) in steps.zip(drawn) {
            work(step, batch?)?;
        }
        reader.join().map_err(|_| TrainError::ReaderLost)
    })
}
