//! Draws batches from the mixing buffer.

use std::collections::BTreeMap;

use hayloft_store::{Cache, SiteName};
use serde::{Deserialize, Serialize};

use super::census::Census;
use super::filter::RowFilter;
use super::mixing::{Mixing, distinct_row_groups};
use super::mixing_buffer::{MixingBuffer, Origin};
use super::row_stream::{Position, RowStream};
use crate::data::generator::{Generator, Purpose};
use crate::error::TrainError;

/// The settings that determine the rows of each batch.
#[derive(Debug, Clone)]
pub(crate) struct BatchPlan {
    pub(crate) filter: RowFilter,
    pub(crate) census: Census,
    pub(crate) seed: u64,
    /// Rows per batch.
    pub(crate) batch: usize,
    /// Capacity of the mixing buffer in rows.
    pub(crate) mix_rows: usize,
    /// Bytes per row.
    pub(crate) row_bytes: usize,
}

/// A batch in its stored dtype.
#[derive(Debug)]
pub(crate) struct Batch {
    /// `[batch, d_model]`, little-endian values of the cache's dtype.
    pub(crate) bytes: Vec<u8>,
    /// The state for resuming after this batch, if requested.
    pub(crate) state: Option<BatchState>,
}

/// The state that determines all later batches. Buffered rows are stored by position and re-read on resume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct BatchState {
    /// Number of batches drawn.
    drawn: u64,
    /// Position of the row stream.
    position: Position,
    /// Number of distinct row groups per batch, summed over batches.
    distinct: u64,
    /// Origins of the buffered rows. Checkpoints store them as a tensor.
    #[serde(skip)]
    origins: Vec<Origin>,
}

impl BatchState {
    /// The buffered rows, as pairs of row group and row.
    pub(crate) fn waiting(&self) -> Vec<i64> {
        self.origins.iter().flat_map(|origin| [i64::from(origin.row_group), i64::from(origin.row)]).collect()
    }

    /// Restores the value of [`Self::waiting`].
    pub(crate) fn set_waiting(&mut self, waiting: &[i64]) {
        let origin = |pair: &[i64]| Origin { row_group: pair[0] as u32, row: pair[1] as u32 };
        self.origins = waiting.chunks_exact(2).map(origin).collect();
    }
}

/// An infinite sequence of batches.
#[derive(Debug)]
pub(crate) struct Batches<'cache> {
    plan: BatchPlan,
    stream: RowStream<'cache>,
    buffer: MixingBuffer,
    drawn: u64,
    distinct: u64,
}

impl BatchPlan {
    /// Mixing quality up to a state.
    pub(crate) fn mixing(&self, state: &BatchState) -> Mixing {
        Mixing::new(&self.census.kept, self.batch, state.distinct, state.drawn)
    }
}

impl<'cache> Batches<'cache> {
    /// Starts from the beginning or resumes from a state.
    pub(crate) fn open(
        plan: BatchPlan,
        cache: &'cache Cache,
        site: &'cache SiteName,
        from: Option<BatchState>,
    ) -> Result<Self, TrainError> {
        let position = from.as_ref().map_or(Position::default(), |state| state.position);
        let (content, reading) = ((plan.filter.clone(), plan.census.clone()), (plan.seed, plan.row_bytes));
        let mut stream = RowStream::at(position, (cache, site), content, reading);
        let (buffer, drawn, distinct) = match from {
            None => (fill(&mut stream, &plan)?, 0, 0),
            Some(state) => (refill(&mut stream, &plan, state.origins)?, state.drawn, state.distinct),
        };
        Ok(Self { plan, stream, buffer, drawn, distinct })
    }

    /// Draws the next batch, with the subsequent state if `keep_state`.
    pub(crate) fn draw(&mut self, keep_state: bool) -> Result<Batch, TrainError> {
        let mut generator = Generator::new(self.plan.seed, Purpose::Batch, self.drawn);
        let mut bytes = Vec::with_capacity(self.plan.batch * self.plan.row_bytes);
        let mut origins = Vec::with_capacity(self.plan.batch);
        for _ in 0..self.plan.batch {
            let place = generator.below(self.buffer.len());
            let (row, origin) = self.stream.next()?;
            origins.push(self.buffer.exchange(place, row, origin, &mut bytes));
        }
        self.drawn += 1;
        self.distinct += distinct_row_groups(&origins);
        let state = keep_state.then(|| BatchState {
            drawn: self.drawn,
            position: self.stream.position(),
            distinct: self.distinct,
            origins: self.buffer.origins().to_vec(),
        });
        Ok(Batch { bytes, state })
    }
}

/// Creates a buffer with the first rows of the first epoch: as many as fit, without duplicates.
fn fill(stream: &mut RowStream<'_>, plan: &BatchPlan) -> Result<MixingBuffer, TrainError> {
    let rows = plan.mix_rows.min(plan.census.rows());
    let mut buffer = MixingBuffer::new(plan.row_bytes, rows);
    while buffer.len() < rows {
        let (row, origin) = stream.next()?;
        buffer.push(row, origin);
    }
    Ok(buffer)
}

/// Recreates a buffer from row origins, reading each row group once.
fn refill(stream: &mut RowStream<'_>, plan: &BatchPlan, origins: Vec<Origin>) -> Result<MixingBuffer, TrainError> {
    let mut places: BTreeMap<u32, Vec<(usize, usize)>> = BTreeMap::new();
    for (place, origin) in origins.iter().enumerate() {
        places.entry(origin.row_group).or_default().push((place, origin.row as usize));
    }
    let mut buffer = MixingBuffer::of(plan.row_bytes, origins);
    let mut bytes = Vec::new();
    for (row_group, rows) in places {
        stream.read(row_group, &mut bytes)?;
        for (place, row) in rows {
            let start = row * plan.row_bytes;
            let row = bytes.get(start..start + plan.row_bytes).ok_or(TrainError::OtherRows { row_group, row })?;
            buffer.row_mut(place).copy_from_slice(row);
        }
    }
    Ok(buffer)
}
