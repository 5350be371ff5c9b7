//! Reading the row groups of a site ahead of the computation, in bounded memory.

use std::sync::mpsc::{SyncSender, sync_channel};

use hayloft_store::{ActivationReader, Cache, Dtype, SiteName};
use hayloft_terminal::Gauge;
use tch::Kind;

use crate::EvaluateError;
use crate::batch::{Batch, Tables};

/// Row groups that wait, decoded, for the computation. One more is being decoded and one computed on.
const READ_AHEAD: usize = 2;

/// One site of a cache.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'cache> {
    pub(crate) cache: &'cache Cache,
    pub(crate) site: &'cache SiteName,
}

impl Source<'_> {
    /// Calls `work` with every row group, in the order of the cache, while a thread reads, verifies and decodes the
    /// next ones.
    pub(crate) fn for_each(
        self,
        gauge: &Gauge,
        mut work: impl FnMut(&Batch) -> Result<(), EvaluateError>,
    ) -> Result<(), EvaluateError> {
        std::thread::scope(|scope| {
            let (sender, batches) = sync_channel(READ_AHEAD);
            let reader = scope.spawn(move || self.send_all(&sender));
            for batch in batches {
                let batch = batch?;
                work(&batch)?;
                gauge.advance(batch.rows() as u64);
            }
            reader.join().map_err(|_| EvaluateError::ReaderLost)
        })
    }

    /// The first row group.
    pub(crate) fn first(self) -> Result<Batch, EvaluateError> {
        let (tables, reader) = self.open(0)?;
        Batch::read(&tables, &reader, 0)
    }

    /// Sends every row group until there are no more, one cannot be read, or nobody listens.
    fn send_all(self, sender: &SyncSender<Result<Batch, EvaluateError>>) {
        for place in 0..self.cache.shards() {
            let (tables, reader) = match self.open(place) {
                Ok(opened) => opened,
                Err(error) => {
                    // That nobody listens any more means that another error was first.
                    let _ = sender.send(Err(error));
                    return;
                }
            };
            for row_group in 0..reader.row_groups() {
                let batch = Batch::read(&tables, &reader, row_group);
                let failed = batch.is_err();
                if sender.send(batch).is_err() || failed {
                    return;
                }
            }
        }
    }

    fn open(self, place: usize) -> Result<(Tables, ActivationReader), EvaluateError> {
        let shard = self.cache.shard(place)?;
        let reader = shard.activations(self.site)?;
        let tables = Tables {
            place,
            shard: shard.record().index,
            sequences: shard.sequences().to_vec(),
            tokens: shard.tokens()?,
            predictions: shard.predictions()?,
            kind: kind(reader.dtype()),
        };
        Ok((tables, reader))
    }
}

/// LibTorch's name for the type that a cache stores activations in.
pub(crate) fn kind(dtype: Dtype) -> Kind {
    match dtype {
        Dtype::F32 => Kind::Float,
        Dtype::Bf16 => Kind::BFloat16,
        Dtype::F16 => Kind::Half,
    }
}
