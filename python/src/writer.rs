//! A cache that Python fills with activations.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use hayloft_store::convert::{ModelAndTokenizer, read_tokenizer};
use hayloft_store::{
    CacheWriter, Dtype, Existing, HarvestSettings, KeptPredictions, NonFinite, PlanReader, Predictions, Section,
    Sequence, ShardWriter, SiteName, StoreError, TokenizerRecord, Tokens,
};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict};

use crate::error::Failure;
use crate::process::run;

/// What is written, as Python gives it: a dict.
#[derive(Debug, FromPyObject)]
#[pyo3(from_item_all)]
struct Given {
    /// The folder of the model's checkpoint.
    checkpoint: Option<PathBuf>,
    /// The name of a model without one.
    model_type: Option<String>,
    d_model: Option<usize>,
    tokenizer: Option<PathBuf>,
    sites: BTreeMap<String, Option<usize>>,
    dtype: String,
    precision: String,
    codec: String,
    /// Number of the largest logits that are kept; none without predictions.
    top_k: Option<u32>,
    non_finite: bool,
    resume: bool,
}

/// Predictions of some rows, as little-endian words: loss, logsumexp, entropy, ids and values of the largest logits.
type PredictionsOf = (PyBackedBytes, PyBackedBytes, PyBackedBytes, PyBackedBytes, PyBackedBytes);

/// A cache that is being written. Sequences are handed out and written in the order of the plan.
#[pyclass(frozen, module = "hayloft._hayloft")]
#[derive(Debug)]
pub(crate) struct Writer {
    folder: PathBuf,
    dtype: Dtype,
    widths: BTreeMap<SiteName, usize>,
    planned_shards: usize,
    process: u32,
    /// None after the end.
    state: Arc<Mutex<Option<State>>>,
}

#[derive(Debug)]
struct State {
    writer: CacheWriter,
    whole_shards: usize,
    /// Shards that are not written yet, the next one at the end.
    missing: Vec<usize>,
    filling: Option<Filling>,
}

/// The shard that is being filled.
#[derive(Debug)]
struct Filling {
    shard: ShardWriter,
    sequences: Vec<Sequence>,
    tokens: Tokens,
    /// Number of sequences written.
    written: usize,
    /// The rows of the current row group, for each site.
    rows: BTreeMap<SiteName, Vec<u8>>,
    predictions: Option<Predictions>,
}

impl State {
    /// The shard to fill, which is begun if it is due; none after the last.
    fn filling(&mut self) -> Result<Option<&mut Filling>, Failure> {
        if self.filling.is_none()
            && let Some(&index) = self.missing.last()
        {
            let (sequences, tokens) = self.writer.plan_shard(index)?;
            let shard = self.writer.begin_shard(index)?;
            let settings = self.writer.settings();
            let rows = settings.sites.iter().map(|site| (site.clone(), Vec::new())).collect();
            let predictions = settings.predictions.map(|kept| {
                let top_k = kept.top_k as usize;
                Predictions { top_k, ..Predictions::default() }
            });
            self.filling = Some(Filling { shard, sequences, tokens, written: 0, rows, predictions });
        }
        Ok(self.filling.as_mut())
    }

    fn write(
        &mut self,
        sequences: usize,
        mut rows: BTreeMap<SiteName, PyBackedBytes>,
        predictions: Option<PredictionsOf>,
    ) -> Result<(), Failure> {
        let Some(filling) = self.filling()? else { return Err(Failure::internal()) };
        filling.written += sequences;
        let ends = filling.written >= filling.sequences.len();
        let row_group_ends = ends || {
            let (last, next) = (&filling.sequences[filling.written - 1], &filling.sequences[filling.written]);
            last.row_group != next.row_group
        };
        for (site, held) in &mut filling.rows {
            let given = rows.remove(site).ok_or_else(Failure::internal)?;
            held.extend_from_slice(&given);
            if row_group_ends {
                filling.shard.write_activations(site, std::mem::take(held))?;
            }
        }
        if let (Some(held), Some(given)) = (&mut filling.predictions, predictions) {
            add(held, &given);
        }
        if let Some(filling) = self.filling.take_if(|_| ends) {
            let whole = filling.shard.finish(filling.predictions)?;
            self.writer.record(whole)?;
            self.whole_shards += 1;
            self.missing.pop();
        }
        Ok(())
    }
}

fn add(held: &mut Predictions, (loss, logsumexp, entropy, ids, logits): &PredictionsOf) {
    let floats =
        |bytes: &[u8]| -> Vec<f32> { bytes.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect() };
    held.loss.extend(floats(loss));
    held.logsumexp.extend(floats(logsumexp));
    held.entropy.extend(floats(entropy));
    held.top_ids.extend(ids.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)));
    held.top_logits.extend(floats(logits));
}

/// Checked settings: the model and its tokenizer are read.
#[pyclass(frozen, module = "hayloft._hayloft")]
#[derive(Debug, Clone)]
pub(crate) struct WriterSettings {
    harvest: HarvestSettings,
    pub(crate) tokenizer: TokenizerRecord,
    non_finite: NonFinite,
    pub(crate) existing: Existing,
}

#[pymethods]
impl WriterSettings {
    /// Refuses settings that no cache can have. Reads the model and writes nothing.
    #[new]
    fn new(py: Python<'_>, given: Given) -> PyResult<Self> {
        run(py, move |_| given.checked())
    }
}

impl Given {
    fn checked(self) -> Result<WriterSettings, Failure> {
        let dtype = parsed("dtype", &self.dtype)?;
        let precision = parsed("precision", &self.precision)?;
        let ModelAndTokenizer { mut model, mut tokenizer } = match (&self.checkpoint, self.d_model) {
            (Some(folder), _) => ModelAndTokenizer::read(folder, precision)?,
            (None, Some(d_model)) => ModelAndTokenizer::unknown(d_model, precision),
            (None, None) => return Err(Failure::internal()),
        };
        if let Some(name) = self.model_type {
            model.model_type = name;
        }
        if let Some(folder) = &self.tokenizer {
            tokenizer = read_tokenizer(folder)?;
        }
        let mut site_widths = BTreeMap::new();
        let mut sites = Vec::new();
        for (name, width) in self.sites {
            let site = SiteName::try_from(name)?;
            site_widths.extend(width.map(|width| (site.clone(), width)));
            sites.push(site);
        }
        let codec = self.codec.parse()?;
        let predictions = self.top_k.map(KeptPredictions::top);
        Ok(WriterSettings {
            harvest: HarvestSettings { model, sites, site_widths, dtype, codec, predictions },
            tokenizer,
            non_finite: if self.non_finite { NonFinite::Allow } else { NonFinite::Refuse },
            existing: if self.resume { Existing::Resume } else { Existing::Refuse },
        })
    }
}

fn parsed(what: &str, name: &str) -> Result<Dtype, Failure> {
    name.parse::<Dtype>().map_err(|error| Failure::invalid(format!("{what}: {error}")))
}

impl Writer {
    /// The state, for a short look. Not waited for: a write that was interrupted may still hold it.
    fn look(&self) -> Result<MutexGuard<'_, Option<State>>, Failure> {
        if self.process != std::process::id() {
            let expected = "expected to be written by the process that opened it, got one that was forked from it";
            return Err(Failure::new("forked", format!("{}: {expected}", self.folder.display())));
        }
        self.state.try_lock().map_err(|_| self.busy())
    }

    fn busy(&self) -> Failure {
        let expected = "expected one thread at a time, got another that is writing. Wait until it ends";
        Failure::new("conflict", format!("{}: {expected}", self.folder.display()))
    }

    fn closed(&self) -> Failure {
        let expected = "expected a cache that is being written, got one whose writer was closed";
        Failure::new("closed", format!("{}: {expected}. Open it with resume=True", self.folder.display()))
    }
}

#[pymethods]
impl Writer {
    /// Opens a planned cache for writing, and finds the shards that it has.
    #[new]
    fn new(py: Python<'_>, folder: PathBuf, settings: &WriterSettings) -> PyResult<Self> {
        let (place, settings) = (folder.clone(), settings.clone());
        let (writer, missing) = run(py, move |_| {
            let WriterSettings { harvest, tokenizer, non_finite, existing } = settings;
            let plan = PlanReader::open(&place)?;
            let (expected, planned) = (tokenizer.blake3, &plan.plan().corpus.tokenizer.blake3);
            if expected != *planned && !expected.is_empty() && !planned.is_empty() {
                return Err(Failure::from(StoreError::Mismatch {
                    path: place.join("plan.json"),
                    field: "the BLAKE3 of tokenizer.json".to_owned(),
                    expected,
                    got: planned.clone(),
                }));
            }
            let writer = CacheWriter::open(&place, harvest, non_finite, existing)?;
            let shards = 0..writer.plan().shards.len();
            let missing = shards.rev().filter(|shard| !writer.is_complete(*shard)).collect::<Vec<_>>();
            Ok((writer, missing))
        })?;
        let settings = writer.settings();
        let widths = settings.sites.iter().map(|site| (site.clone(), settings.width(site))).collect();
        let (dtype, planned_shards) = (settings.dtype, writer.plan().shards.len());
        let whole_shards = planned_shards - missing.len();
        let state = Arc::new(Mutex::new(Some(State { writer, whole_shards, missing, filling: None })));
        Ok(Self { folder, dtype, widths, planned_shards, process: std::process::id(), state })
    }

    /// The dtype that is stored: `f32`, `bf16` or `f16`.
    #[getter]
    fn dtype(&self) -> String {
        self.dtype.to_string()
    }

    /// The sites, and the number of elements of a row of each.
    #[getter]
    fn widths(&self) -> BTreeMap<&str, usize> {
        self.widths.iter().map(|(site, width)| (site.as_str(), *width)).collect()
    }

    /// The number of shards that are whole, and of those that are planned.
    #[getter]
    fn shards(&self) -> Result<(usize, usize), Failure> {
        Ok((self.look()?.as_ref().ok_or_else(|| self.closed())?.whole_shards, self.planned_shards))
    }

    /// The next sequences to write, of one row group, as a dict: at most `sequences` of them and, if there are several, at
    /// most `cells` cells `[sequences, longest]`; none after the last.
    fn next<'py>(&self, py: Python<'py>, sequences: usize, cells: usize) -> PyResult<Option<Bound<'py, PyDict>>> {
        let mut state = self.look()?;
        let state = state.as_mut().ok_or_else(|| self.closed())?;
        let Some(filling) = state.filling()? else { return Ok(None) };
        let rest = &filling.sequences[filling.written..];
        let Some(first) = rest.first() else { return Err(Failure::internal().into()) };
        // The first of a row group is the longest.
        let most = sequences.min(cells / first.length.max(1) as usize).max(1);
        let batch = rest.iter().take(most).take_while(|sequence| sequence.row_group == first.row_group);
        let batch: Vec<&Sequence> = batch.collect();
        let rows = batch.iter().map(|sequence| sequence.length as usize).sum::<usize>();
        let rows = first.first_row as usize..first.first_row as usize + rows;
        let tokens: Vec<u8> = filling.tokens.token[rows.clone()].iter().flat_map(|token| token.to_le_bytes()).collect();
        let place = |section: &Section| Section::ALL.iter().position(|one| one == section).unwrap_or_default() as u8;
        let sections: Vec<u8> = filling.tokens.section[rows].iter().map(place).collect();
        let given = PyDict::new(py);
        given.set_item("shard", filling.shard.index())?;
        given.set_item("first", filling.written)?;
        given.set_item("sequences", batch.iter().map(|sequence| sequence.id).collect::<Vec<_>>())?;
        given.set_item("lengths", batch.iter().map(|sequence| sequence.length).collect::<Vec<_>>())?;
        given.set_item("tokens", PyBytes::new(py, &tokens))?;
        given.set_item("sections", PyBytes::new(py, &sections))?;
        Ok(Some(given))
    }

    /// Writes the rows of the sequences that are due: `count` of shard `shard` from number `first` on. `rows` has the words
    /// of each site, `[rows, width]`.
    #[pyo3(signature = (shard, first, count, rows, predictions=None))]
    fn write(
        &self,
        py: Python<'_>,
        shard: usize,
        first: usize,
        count: usize,
        rows: BTreeMap<String, PyBackedBytes>,
        predictions: Option<PredictionsOf>,
    ) -> PyResult<()> {
        {
            let state = self.look()?;
            let state = state.as_ref().ok_or_else(|| self.closed())?;
            let due = state.filling.as_ref().map(|filling| (filling.shard.index(), filling.written));
            if due != Some((shard, first)) {
                let expected = "expected the batch that batches() gave last, written once, got another";
                return Err(Failure::new("conflict", format!("{}: {expected}", self.folder.display())).into());
            }
        }
        let parse = |(name, words): (String, PyBackedBytes)| Ok((name.parse::<SiteName>()?, words));
        let rows = rows.into_iter().map(parse).collect::<Result<BTreeMap<_, _>, StoreError>>();
        let (rows, state, busy) = (rows.map_err(Failure::from)?, Arc::clone(&self.state), self.busy());
        run(py, move |_| {
            let Ok(mut state) = state.try_lock() else { return Err(busy) };
            let Some(state) = state.as_mut() else { return Err(Failure::internal()) };
            // What fails leaves no part of the shard.
            state.write(count, rows, predictions).inspect_err(|_| state.filling = None)
        })
    }

    /// Writes the manifest over the whole shards, if there are any, and gives up the folder. A shard that is not full is
    /// removed. Returns the number of whole shards, of planned ones and of tokens.
    fn close(&self, py: Python<'_>) -> PyResult<(usize, usize, u64)> {
        let Some(state) = self.look()?.take() else { return Err(self.closed().into()) };
        let planned = self.planned_shards;
        run(py, move |_| {
            let State { writer, whole_shards, filling, .. } = state;
            drop(filling);
            if whole_shards == 0 {
                return Ok((0, planned, 0));
            }
            Ok((whole_shards, planned, writer.finish()?.held.tokens))
        })
    }
}
