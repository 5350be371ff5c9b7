//! Reading the row groups of a site ahead of the computation, in bounded memory.

use std::sync::Arc;

use hayloft_model::{Jobs, in_order, steps};
use hayloft_store::{ActivationReader, Cache, Dtype, SiteName};
use hayloft_terminal::{Gauge, Phase};
use tch::{Device, Kind};

use crate::EvaluateError;
use crate::batch::{Batch, Tables};
use crate::kl::KlWay;

/// One site of a cache, read for a device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'cache> {
    pub(crate) cache: &'cache Cache,
    pub(crate) site: &'cache SiteName,
    pub(crate) device: Device,
    /// What divergences are computed from, if any are.
    pub(crate) kl: Option<KlWay>,
}

impl Source<'_> {
    /// Does `work` on every batch, on the device's workers, and hands what comes of it to `collect` in the order of the
    /// cache, while a thread reads, verifies and decodes what comes next.
    pub(crate) fn for_each<Done: Send>(
        self,
        gauge: &Gauge,
        work: impl Fn(&Batch) -> Result<Done, EvaluateError> + Sync,
        mut collect: impl FnMut(&Batch, Done) -> Result<(), EvaluateError>,
    ) -> Result<(), EvaluateError> {
        in_order(
            self.device,
            move |jobs| self.read_all(jobs),
            |batch| work(&batch).map(|done| (batch, done)),
            |(batch, done)| {
                collect(&batch, done)?;
                gauge.advance(batch.rows() as u64);
                Ok(())
            },
        )
    }

    /// The first batches of the cache, with at least this many rows if there are that many in its first row group.
    pub(crate) fn first(self, rows: usize) -> Result<Vec<Batch>, EvaluateError> {
        let (tables, reader) = self.open(0)?;
        let mut batches = Batch::read(&tables, &reader, 0, |lengths| steps(lengths, self.device))?;
        let mut held = 0;
        batches.retain(|batch| {
            let wanted = held < rows;
            held += batch.rows();
            wanted
        });
        Ok(batches)
    }

    /// The first sequences of the cache, as many as it takes to have this many rows, if its first row group has them.
    pub(crate) fn few(self, rows: usize) -> Result<Option<Batch>, EvaluateError> {
        let (tables, reader) = self.open(0)?;
        let enough = |lengths: &[usize]| {
            let mut held = 0;
            let before = |length: &&usize| {
                held += **length;
                held - **length < rows
            };
            let range = 0..lengths.iter().take_while(before).count();
            std::iter::once(range).collect()
        };
        Ok(Batch::read(&tables, &reader, 0, enough)?.pop())
    }

    /// Hands over every batch until there are no more, one cannot be read, or nobody wants them.
    fn read_all(self, jobs: &mut Jobs<Batch>) -> Result<(), EvaluateError> {
        for place in 0..self.cache.shards() {
            let (tables, reader) = self.open(place)?;
            for row_group in 0..reader.row_groups() {
                reader.prefetch(row_group + 1);
                let batches = Batch::read(&tables, &reader, row_group, |lengths| steps(lengths, self.device))?;
                reader.release(row_group);
                for batch in batches {
                    if jobs.send(batch).is_err() {
                        return Ok(()); // whoever stopped says why
                    }
                }
            }
        }
        Ok(())
    }

    fn open(self, place: usize) -> Result<(Tables, ActivationReader), EvaluateError> {
        let _phase = Phase::Read.begin(0);
        let shard = self.cache.shard(place)?;
        let reader = shard.activations(self.site)?;
        let reads_logits = self.kl.is_some_and(KlWay::reads_logits);
        let tables = Tables {
            place,
            shard: shard.record().index,
            sequences: shard.sequences().to_vec(),
            tokens: shard.tokens()?,
            predictions: shard.predictions()?,
            logits: if reads_logits { shard.logits()?.map(Arc::new) } else { None },
            kl: self.kl,
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
