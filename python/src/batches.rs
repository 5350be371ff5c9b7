//! Batches of a site, drawn ahead by a thread.

use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex};

use hayloft_rows::stream::{BatchPlan, BatchState, KeptRows, Reading};
use hayloft_rows::{RowsError, stream};
use hayloft_store::{RowReader, SiteName};
use pyo3::prelude::*;

use crate::error::Failure;
use crate::opened::Opened;
use crate::process::{POLL, go_on, pool, run};
use crate::selection::Selection;
use crate::words::{Words, typestr};

/// Batches that are drawn ahead. One more is being drawn.
const AHEAD: usize = 2;

/// The order and the size of batches.
#[derive(Debug, Clone, Copy, FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct BatchSettings {
    batch: usize,
    seed: Option<u64>,
    epochs: Option<u64>,
    buffer_rows: usize,
    part: usize,
    parts: usize,
    drop_last: bool,
}

/// The batches of a site. Each is taken once.
#[pyclass(frozen, module = "hayloft._hayloft")]
#[derive(Debug)]
pub(crate) struct Batches {
    opened: Arc<Opened>,
    site: SiteName,
    plan: BatchPlan,
    /// The number of each row group's first row.
    first_rows: Vec<u64>,
    shape: (usize, &'static str),
    /// The number of batches, unless there is no end.
    length: Option<u64>,
    process: u32,
    taken: Mutex<Taken>,
}

/// What was taken so far, and the thread that draws the rest.
#[derive(Debug)]
struct Taken {
    /// Begun with the first batch.
    drawn: Option<Receiver<Result<stream::Batch, RowsError>>>,
    state: Option<BatchState>,
    batches: u64,
}

impl Batches {
    pub(crate) fn open(
        py: Python<'_>,
        opened: &Arc<Opened>,
        reader: &RowReader,
        site: &SiteName,
        selection: Selection,
        settings: BatchSettings,
        state: Option<(String, Vec<u8>)>,
    ) -> PyResult<Self> {
        let (cache, name) = (Arc::clone(opened.cache()?), site.clone());
        let (filter, kept) = run(py, move |stop| {
            let filter = selection.filter(&cache, &name)?;
            let mut kept = KeptRows::default();
            for place in 0..cache.shards() {
                go_on(stop)?;
                kept.add_shard(&cache, place, &name, &filter)?;
            }
            Ok((filter, kept))
        })?;
        let BatchSettings { batch, seed, epochs, buffer_rows, part, parts, drop_last } = settings;
        let reading = Reading { seed, epochs, part, parts };
        check(&kept, &reading, batch)?;
        let first_rows = kept.first_rows();
        let length = reading.batches(&kept, batch, drop_last);
        let plan = BatchPlan { filter, kept, reading, batch, mix_rows: buffer_rows, row_bytes: reader.row_bytes() };
        let state = state.map(|(json, waiting)| restored(&json, &waiting)).transpose()?;
        let taken = Taken { drawn: None, batches: state.as_ref().map_or(0, BatchState::drawn), state };
        Ok(Self {
            opened: Arc::clone(opened),
            site: site.clone(),
            plan,
            first_rows,
            shape: (reader.d_model(), typestr(reader.dtype())),
            length,
            process: std::process::id(),
            taken: Mutex::new(taken),
        })
    }

    /// Starts the thread that draws batches.
    fn start(&self, state: Option<BatchState>) -> Result<Receiver<Result<stream::Batch, RowsError>>, Failure> {
        let (sender, receiver) = sync_channel(AHEAD);
        let (plan, cache, site) = (self.plan.clone(), Arc::clone(self.opened.cache()?), self.site.clone());
        let pool = pool()?;
        let draw = move || {
            let mut batches = match pool.install(|| stream::Batches::open(plan, cache, &site, state)) {
                Ok(batches) => batches,
                Err(error) => return drop(sender.send(Err(error))),
            };
            loop {
                let batch = pool.install(|| batches.draw(true));
                let is_last = batch.as_ref().map_or(true, |batch| batch.origins.is_empty());
                // Without a receiver no batch is wanted any more.
                if sender.send(batch).is_err() || is_last {
                    return;
                }
            }
        };
        let started = std::thread::Builder::new().name("hayloft-batches".to_owned()).spawn(draw);
        started.map_err(|error| Failure::new("io", format!("cannot start a thread: {error}")))?;
        Ok(receiver)
    }

    /// The batch as arrays, and the numbers of its rows.
    fn arrays(&self, batch: stream::Batch) -> (Words, Words) {
        let number = |origin: &stream::Origin| self.first_rows[origin.row_group as usize] + u64::from(origin.row);
        let numbers = Words::of_i64(batch.origins.iter().map(|origin| number(origin) as i64));
        let (d_model, typestr) = self.shape;
        (Words::of_rows(batch.bytes, vec![batch.origins.len(), d_model], typestr), numbers)
    }
}

/// Refuses settings under which there is no batch or no end to the search for one.
fn check(kept: &KeptRows, reading: &Reading, batch: usize) -> Result<(), Failure> {
    if batch == 0 || reading.parts == 0 || reading.part >= reading.parts {
        let got = format!("{batch}, {} and {}", reading.part, reading.parts);
        return Err(Failure::invalid(format!(
            "batch size, rank and world size: expected a size of at least 1 and a rank below the world size, got {got}"
        )));
    }
    if kept.rows() == 0 {
        let expected = "expected rows that sections, exclude and outlier_norm leave, got none";
        return Err(Failure::invalid(format!("batches: {expected}. Leave out fewer")));
    }
    let of_epoch = Reading { epochs: Some(1), ..*reading };
    if reading.parts > 1 && of_epoch.batches(kept, batch, true) == Some(0) {
        let row_groups = kept.kept.iter().filter(|rows| **rows > 0).count();
        let got = format!("{} parts of {} rows in {row_groups} row groups", reading.parts, kept.rows());
        let expected = format!("expected a batch of {batch} rows for each part, whole row groups going to each");
        let advice = "Use fewer processes and workers, or smaller batches";
        return Err(Failure::invalid(format!("batches: {expected}, got {got}. {advice}")));
    }
    Ok(())
}

fn restored(json: &str, waiting: &[u8]) -> Result<BatchState, Failure> {
    let mut state: BatchState = serde_json::from_str(json)
        .map_err(|error| Failure::invalid(format!("state: expected one of state_dict(), got another: {error}")))?;
    let waiting: Vec<i64> = waiting.as_chunks::<8>().0.iter().map(|word| i64::from_le_bytes(*word)).collect();
    state.set_waiting(&waiting);
    Ok(state)
}

#[pymethods]
impl Batches {
    /// The number of rows that count, over the whole cache.
    #[getter]
    fn rows(&self) -> usize {
        self.plan.kept.rows()
    }

    /// The number of batches in all, unless there is no end.
    #[getter]
    fn batches(&self) -> Option<u64> {
        self.length
    }

    /// The number of batches taken.
    #[getter]
    fn taken(&self) -> Result<u64, Failure> {
        Ok(self.taken.try_lock().map_err(|_| busy())?.batches)
    }

    /// The next batch and the numbers of its rows; none after the last.
    fn next(&self, py: Python<'_>) -> PyResult<Option<(Words, Words)>> {
        self.opened.cache()?;
        if self.process != std::process::id() {
            let expected = "expected to be drawn by the process that began them, got another that was forked from it";
            return Err(Failure::new("forked", format!("batches: {expected}. Begin them in that process")).into());
        }
        // Not waited for, since its holder waits for Python's lock, which this thread has.
        let mut taken = self.taken.try_lock().map_err(|_| busy())?;
        if self.length.is_some_and(|length| taken.batches >= length) {
            return Ok(None);
        }
        let mut drawn = match taken.drawn.take() {
            Some(drawn) => drawn,
            None => self.start(taken.state.clone())?,
        };
        loop {
            let batch;
            (drawn, batch) = py.detach(move || {
                let batch = drawn.recv_timeout(POLL);
                (drawn, batch)
            });
            match batch {
                Err(RecvTimeoutError::Timeout) => {
                    if let Err(interrupt) = py.check_signals() {
                        taken.drawn = Some(drawn);
                        return Err(interrupt);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Err(Failure::internal().into()),
                Ok(Err(error)) => return Err(Failure::from(error).into()),
                Ok(Ok(batch)) if batch.origins.is_empty() => return Ok(None),
                Ok(Ok(mut batch)) => {
                    taken.drawn = Some(drawn);
                    taken.state = batch.state.take();
                    taken.batches += 1;
                    return Ok(Some(self.arrays(batch)));
                }
            }
        }
    }

    /// The state after the last batch that was taken, as JSON, and the rows that wait, as little-endian 64-bit
    /// integers; none before the first batch.
    fn state(&self) -> Result<Option<(String, Vec<u8>)>, Failure> {
        let taken = self.taken.try_lock().map_err(|_| busy())?;
        let Some(state) = &taken.state else { return Ok(None) };
        let json = serde_json::to_string(state).map_err(|error| Failure::invalid(error.to_string()))?;
        Ok(Some((json, state.waiting().into_iter().flat_map(i64::to_le_bytes).collect())))
    }

    /// Row groups with rows that count, their mean number in a batch so far, and that of a perfect shuffle; none
    /// before the first batch.
    fn mixing(&self) -> Result<Option<(usize, f64, f64)>, Failure> {
        let taken = self.taken.try_lock().map_err(|_| busy())?;
        let mixing = taken.state.as_ref().map(|state| self.plan.mixing(state));
        Ok(mixing.map(|it| (it.row_groups, it.row_groups_per_batch, it.row_groups_per_batch_if_perfect)))
    }
}

fn busy() -> Failure {
    Failure::new(
        "conflict",
        "batches: expected one thread at a time, got another that is taking a batch. Begin batches in each thread",
    )
}
