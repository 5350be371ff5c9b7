//! Prefetching reader of a site's row groups, in bounded memory.

use std::sync::Arc;

use hayloft_model::{Jobs, in_order, kind, steps};
use hayloft_results::{KlMethod, ModelWeights};
use hayloft_rows::Excluded;
use hayloft_runtime::{Gauge, Phase};
use hayloft_store::{ActivationReader, Cache};
use tch::{Device, TchError, Tensor};

use crate::data::batch::{Activations, Batch, Tables, as_given};
use crate::error::EvaluateError;
use crate::session::splice_site::SpliceSite;

/// Reads the sites of a cache that an evaluation needs, for a device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CacheReader<'cache> {
    pub(crate) cache: &'cache Cache,
    pub(crate) point: &'cache SpliceSite,
    pub(crate) device: Device,
    /// Tokens excluded from the metrics.
    pub(crate) excluded: &'cache Excluded,
    /// The weights convention that activations are converted to.
    pub(crate) weights: ModelWeights,
    /// How divergences are computed, if requested.
    pub(crate) kl: Option<KlMethod>,
}

impl CacheReader<'_> {
    /// Moves a batch's activations to the device, in the run's weights convention.
    pub(crate) fn to_device(self, batch: &Batch) -> Result<Activations, TchError> {
        batch.to_device(self.device, self.weights)
    }

    /// Converts rows as the model has them, `[rows, width]`, to the run's weights convention.
    pub(crate) fn in_convention(self, rows: &Tensor) -> Result<Tensor, TchError> {
        as_given(self.weights, rows)
    }

    /// Runs `work` on every batch of the shards at these indices, on the device's workers, and passes the results to
    /// `collect` in order. A separate thread reads, verifies and decodes the following batches.
    pub(crate) fn for_each<Done: Send>(
        self,
        places: &[usize],
        gauge: &Gauge,
        work: impl Fn(&Batch) -> Result<Done, EvaluateError> + Sync,
        mut collect: impl FnMut(&Batch, Done) -> Result<(), EvaluateError>,
    ) -> Result<(), EvaluateError> {
        in_order(
            self.device,
            move |jobs| self.read_all(places, jobs),
            |batch| work(&batch).map(|done| (batch, done)),
            |(batch, done)| {
                collect(&batch, done)?;
                gauge.advance(batch.rows() as u64);
                Ok(())
            },
        )
    }

    /// The first batches of the cache, with at least this many rows if its first row group has as many.
    pub(crate) fn first(self, rows: usize) -> Result<Vec<Batch>, EvaluateError> {
        let (tables, readers) = self.open(0)?;
        let mut batches = Batch::read(&tables, &readers, 0, self.excluded, |lengths| steps(lengths, self.device))?;
        let mut held = 0;
        batches.retain(|batch| {
            let wanted = held < rows;
            held += batch.rows();
            wanted
        });
        Ok(batches)
    }

    /// The first sequences of the shard at an index, as many as give this many rows, within its first row group.
    pub(crate) fn few(self, place: usize, rows: usize) -> Result<Option<Batch>, EvaluateError> {
        let (tables, readers) = self.open(place)?;
        let enough = |lengths: &[usize]| {
            let mut held = 0;
            let before = |length: &&usize| {
                held += **length;
                held - **length < rows
            };
            let range = 0..lengths.iter().take_while(before).count();
            std::iter::once(range).collect()
        };
        Ok(Batch::read(&tables, &readers, 0, self.excluded, enough)?.pop())
    }

    /// Sends every batch, until the end, a read error, or a closed channel.
    fn read_all(self, places: &[usize], jobs: &mut Jobs<Batch>) -> Result<(), EvaluateError> {
        for (number, &place) in places.iter().enumerate() {
            let (tables, readers) = self.open(place)?;
            if let Some(&next) = places.get(number + 1) {
                for site in self.point.sites() {
                    self.cache.read_ahead(next, site);
                }
            }
            for row_group in 0..readers.first().map_or(0, ActivationReader::row_groups) {
                for reader in &readers {
                    reader.prefetch(row_group + 1);
                }
                let cut = |lengths: &[usize]| steps(lengths, self.device);
                let batches = Batch::read(&tables, &readers, row_group, self.excluded, cut)?;
                for reader in &readers {
                    reader.release(row_group);
                }
                for batch in batches {
                    if jobs.send(batch).is_err() {
                        return Ok(()); // the consumer reports the error
                    }
                }
            }
        }
        Ok(())
    }

    fn open(self, place: usize) -> Result<(Tables, Vec<ActivationReader>), EvaluateError> {
        let _phase = Phase::Read.begin(0);
        let shard = self.cache.shard(place)?;
        let readers: Vec<ActivationReader> =
            self.point.sites().into_iter().map(|site| shard.activations(site)).collect::<Result<_, _>>()?;
        let reads_logits = self.kl.is_some_and(KlMethod::reads_logits);
        let table = shard.token_table()?;
        let predictions = match self.kl {
            Some(KlMethod::Bound { .. }) => table.predictions()?,
            _ => table.predictions_without_top()?,
        };
        let tables = Tables {
            has_target: self.point.is_transcoder(),
            place,
            shard: shard.record().index,
            sequences: shard.sequences().to_vec(),
            tokens: table.tokens()?,
            predictions,
            logits: if reads_logits { shard.logits()?.map(Arc::new) } else { None },
            kl: self.kl,
            kind: kind(self.cache.manifest().read_dtype()),
        };
        Ok((tables, readers))
    }
}
