//! Draws batches from the mixing buffer.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use hayloft_store::{Cache, SiteName};
use serde::{Deserialize, Serialize};

use crate::error::RowsError;
use crate::stream::filter::RowFilter;
use crate::stream::generator::{Generator, Purpose};
use crate::stream::mixing::{Mixing, distinct_row_groups};
use crate::stream::mixing_buffer::{MixingBuffer, copy_rows};
use crate::stream::reading::Reading;
use crate::stream::row_groups::KeptRows;
use crate::stream::row_memory::RowMemory;
use crate::stream::row_run::Origin;
use crate::stream::row_stream::{Position, RowStream};

/// The settings that determine the rows of each batch.
#[derive(Debug, Clone)]
pub struct BatchPlan {
    /// The rows that count.
    pub filter: RowFilter,
    /// The rows that the filter keeps.
    pub kept: KeptRows,
    /// Order, epochs and part.
    pub reading: Reading,
    /// Rows per batch.
    pub batch: usize,
    /// Capacity of the mixing buffer in rows; unused in the order of the cache.
    pub mix_rows: usize,
    /// Bytes per row.
    pub row_bytes: usize,
}

/// A batch in its stored dtype.
#[derive(Debug)]
pub struct Batch {
    /// `[batch, d_model]`, little-endian values of the dtype in which the cache is read.
    pub bytes: RowMemory,
    /// `[batch]`: where the rows are from.
    pub origins: Vec<Origin>,
    /// The state for resuming after this batch, if requested.
    pub state: Option<BatchState>,
}

/// The state that determines all later batches. Buffered rows are stored by position and re-read on resume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchState {
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
    /// Number of batches drawn.
    pub fn drawn(&self) -> u64 {
        self.drawn
    }

    /// The buffered rows, as pairs of row group and row.
    pub fn waiting(&self) -> Vec<i64> {
        self.origins.iter().flat_map(|origin| [i64::from(origin.row_group), i64::from(origin.row)]).collect()
    }

    /// Restores the value of [`Self::waiting`].
    pub fn set_waiting(&mut self, waiting: &[i64]) {
        let origin = |pair: &[i64]| Origin { row_group: pair[0] as u32, row: pair[1] as u32 };
        self.origins = waiting.chunks_exact(2).map(origin).collect();
    }
}

/// A sequence of batches, of a cache that is borrowed or shared.
#[derive(Debug)]
pub struct Batches<C> {
    plan: BatchPlan,
    stream: RowStream<C>,
    buffer: MixingBuffer,
    drawn: u64,
    distinct: u64,
}

impl BatchPlan {
    /// Mixing quality up to a state.
    pub fn mixing(&self, state: &BatchState) -> Mixing {
        Mixing::new(&self.kept.kept, self.batch, state.distinct, state.drawn)
    }
}

impl<C: Borrow<Cache>> Batches<C> {
    /// Starts from the beginning or resumes from a state. If the reading is endless, at least one row must be kept.
    pub fn open(plan: BatchPlan, cache: C, site: &SiteName, from: Option<BatchState>) -> Result<Self, RowsError> {
        let position = from.as_ref().map_or(Position::default(), |state| state.position);
        let (content, reading) = ((plan.filter.clone(), plan.kept.clone()), (plan.reading, plan.row_bytes));
        let mut stream = RowStream::at(position, (cache, site), content, reading);
        let (buffer, drawn, distinct) = match from {
            None => (fill(&mut stream, &plan)?, 0, 0),
            Some(state) => (refill(&mut stream, &plan, state.origins)?, state.drawn, state.distinct),
        };
        Ok(Self { plan, stream, buffer, drawn, distinct })
    }

    /// Draws the next batch, with the subsequent state if `keep_state`. The last batch of a reading with an end may have
    /// fewer rows; after it, batches have none.
    pub fn draw(&mut self, keep_state: bool) -> Result<Batch, RowsError> {
        let seed = self.plan.reading.seed.unwrap_or_default();
        let mut generator = Generator::new(seed, Purpose::Batch, self.drawn);
        let row_bytes = self.plan.row_bytes;
        let mut bytes = RowMemory::new(self.plan.batch.saturating_mul(row_bytes))?;
        let mut origins = Vec::with_capacity(self.plan.batch);
        let mut choose = |waiting| generator.below(waiting);
        while origins.len() < self.plan.batch {
            let wanted = self.plan.batch - origins.len();
            let out = &mut bytes[origins.len() * row_bytes..];
            let is_empty = self.buffer.len() == 0;
            match self.stream.next(wanted)? {
                Some(run) if is_empty => {
                    copy_rows(out.chunks_exact_mut(row_bytes), run.iter());
                    origins.extend(run.origins());
                }
                Some(run) => origins.extend(self.buffer.exchange(&run, &mut choose, out)),
                None if is_empty => break,
                None => origins.extend(self.buffer.remove(wanted, &mut choose, out)),
            }
        }
        bytes.truncate(origins.len() * row_bytes);
        self.drawn += 1;
        self.distinct += distinct_row_groups(&origins);
        let state = keep_state.then(|| BatchState {
            drawn: self.drawn,
            position: self.stream.position(),
            distinct: self.distinct,
            origins: self.buffer.origins().to_vec(),
        });
        Ok(Batch { bytes, origins, state })
    }
}

/// Creates a buffer with the first rows of the first epoch: as many as fit, without duplicates. In the order of the cache
/// there is none.
fn fill<C: Borrow<Cache>>(stream: &mut RowStream<C>, plan: &BatchPlan) -> Result<MixingBuffer, RowsError> {
    let of_epoch = Reading { epochs: Some(1), ..plan.reading }.rows(&plan.kept).unwrap_or_default();
    let rows = if plan.reading.seed.is_some() { plan.mix_rows.min(of_epoch) } else { 0 };
    let mut buffer = MixingBuffer::new(plan.row_bytes, rows)?;
    while buffer.len() < rows
        && let Some(run) = stream.next(rows - buffer.len())?
    {
        buffer.push(&run);
    }
    Ok(buffer)
}

/// Recreates a buffer from row origins, reading each row group once.
fn refill<C: Borrow<Cache>>(
    stream: &mut RowStream<C>,
    plan: &BatchPlan,
    origins: Vec<Origin>,
) -> Result<MixingBuffer, RowsError> {
    let mut places: BTreeMap<u32, Vec<(usize, usize)>> = BTreeMap::new();
    for (place, origin) in origins.iter().enumerate() {
        places.entry(origin.row_group).or_default().push((place, origin.row as usize));
    }
    let mut buffer = MixingBuffer::of(plan.row_bytes, origins)?;
    let mut bytes = Vec::new();
    for (row_group, rows) in places {
        let in_cache = (row_group as usize) < plan.kept.kept.len();
        if in_cache {
            stream.read(row_group, &mut bytes)?;
        }
        for (place, index) in rows {
            let start = index * plan.row_bytes;
            let row = bytes.get(start..start + plan.row_bytes).filter(|_| in_cache);
            let row = row.ok_or(RowsError::OtherRows { row_group, row: index })?;
            buffer.row_mut(place).copy_from_slice(row);
        }
    }
    Ok(buffer)
}
