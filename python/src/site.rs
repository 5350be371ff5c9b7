//! Rows of a site by number.

use std::sync::Arc;

use hayloft_rows::ShardRows;
use hayloft_store::{RowReader, SiteName};
use pyo3::prelude::*;

use crate::batches::{BatchSettings, Batches};
use crate::error::Failure;
use crate::opened::Opened;
use crate::process::{go_on, run};
use crate::selection::Selection;
use crate::words::{Words, typestr, zeroed};

/// One site of a cache.
#[pyclass(frozen, module = "hayloft._hayloft")]
#[derive(Debug)]
pub(crate) struct Site {
    opened: Arc<Opened>,
    name: SiteName,
    reader: Arc<RowReader>,
}

impl Site {
    pub(crate) fn open(opened: &Arc<Opened>, name: &str) -> Result<Self, Failure> {
        let cache = opened.cache()?;
        let name = held_name(&|name| cache.site(name).is_ok(), name);
        let reader = Arc::new(RowReader::open(cache, &name)?);
        Ok(Self { opened: Arc::clone(opened), name: cache.site(&name)?.name().clone(), reader })
    }
}

/// The name under which a cache has a site. The residual stream after a block is that before the next, and Hugging
/// Face's `model.layers.L` is the output of block L, as in the names of sparsify and Gemma Scope.
fn held_name(has: &dyn Fn(&str) -> bool, name: &str) -> String {
    let (after, before) = ("hook_resid_post", "hook_resid_pre");
    let number = |text: &str| text.parse::<usize>().ok();
    let mut names = vec![name.to_owned()];
    if let Some((block, rest)) = name.strip_prefix("blocks.").and_then(|rest| rest.split_once('.'))
        && let Some(block) = number(block)
    {
        if rest == after {
            names.push(format!("blocks.{}.{before}", block.saturating_add(1)));
        } else if rest == before && block > 0 {
            names.push(format!("blocks.{}.{after}", block - 1));
        }
    }
    let layer = name.strip_prefix("model.").unwrap_or(name).strip_prefix("layers.").and_then(|rest| {
        let (block, end) = rest.split_once('.').unwrap_or((rest, "output"));
        Some((number(block)?, end)).filter(|(_, end)| ["input", "output"].contains(end))
    });
    if let Some((block, end)) = layer {
        let block = if end == "input" { block } else { block.saturating_add(1) };
        names.push(format!("blocks.{block}.{before}"));
        names.extend(block.checked_sub(1).map(|block| format!("blocks.{block}.{after}")));
    }
    names.into_iter().find(|name| has(name)).unwrap_or_else(|| name.to_owned())
}

#[pymethods]
impl Site {
    /// The name in the cache.
    #[getter]
    fn name(&self) -> &str {
        self.name.as_str()
    }

    /// The number of rows.
    #[getter]
    fn rows(&self) -> u64 {
        self.reader.rows()
    }

    /// The number of elements of a row.
    #[getter]
    fn d_model(&self) -> usize {
        self.reader.d_model()
    }

    /// The dtype in which rows are read: `f32`, `bf16` or `f16`.
    #[getter]
    fn dtype(&self) -> String {
        self.reader.dtype().to_string()
    }

    /// Mean Euclidean norm of the finite rows, number of rows with a NaN or infinite element, and the scale that
    /// brings the mean norm to `sqrt(d_model)`.
    #[getter]
    fn norms(&self) -> Result<(f64, u64, f64), Failure> {
        let record = self.opened.cache()?.site(self.name.as_str())?.record();
        Ok((record.mean_norm, record.non_finite_rows, record.scale()))
    }

    /// The rows from `first` to `end`, `[end - first, d_model]`.
    fn read(&self, py: Python<'_>, first: u64, end: u64) -> PyResult<Words> {
        self.opened.cache()?;
        let reader = Arc::clone(&self.reader);
        let (d_model, dtype, rows) = (reader.d_model(), reader.dtype(), end.saturating_sub(first) as usize);
        let bytes = run(py, move |stop| {
            let mut bytes = zeroed(rows, reader.row_bytes())?;
            let mut read = 0;
            while read < rows {
                go_on(stop)?;
                read += reader.read(first + read as u64, &mut bytes[read * reader.row_bytes()..])?;
            }
            Ok(bytes)
        })?;
        Ok(Words::new(bytes, vec![rows, d_model], typestr(dtype)))
    }

    /// The rows from `first` to `end` without a copy; none if they are not in one row group, or have to be decoded.
    fn view(&self, py: Python<'_>, first: u64, end: u64) -> PyResult<Option<Words>> {
        self.opened.cache()?;
        let reader = Arc::clone(&self.reader);
        let (shape, typestr) = (vec![end.saturating_sub(first) as usize, reader.d_model()], typestr(reader.dtype()));
        let view = run(py, move |_| Ok(reader.view(first, end)?))?;
        Ok(view.map(|bytes| Words::view(bytes, shape, typestr)))
    }

    /// The rows of a list of numbers, as little-endian 64-bit integers, in its order: `[numbers, d_model]`.
    fn take(&self, py: Python<'_>, numbers: &[u8]) -> PyResult<Words> {
        self.opened.cache()?;
        let reader = Arc::clone(&self.reader);
        let (d_model, dtype) = (reader.d_model(), reader.dtype());
        let numbers = numbers.as_chunks::<8>().0.iter().map(|number| u64::from_le_bytes(*number));
        let mut wanted: Vec<(u64, usize)> = numbers.enumerate().map(|(index, number)| (number, index)).collect();
        let rows = wanted.len();
        let bytes = run(py, move |stop| {
            wanted.sort_unstable();
            let (mut bytes, mut scratch) = (zeroed(rows, reader.row_bytes())?, Vec::new());
            let mut read = 0;
            while read < rows {
                go_on(stop)?;
                read += reader.read_listed(&wanted[read..], &mut bytes, &mut scratch)?;
            }
            Ok(bytes)
        })?;
        Ok(Words::new(bytes, vec![rows, d_model], typestr(dtype)))
    }

    /// Which rows count: a byte for each row, 1 or 0. Reads the tables of all shards and no activations.
    fn mask(&self, py: Python<'_>, selection: Selection) -> PyResult<Words> {
        let (cache, site) = (Arc::clone(self.opened.cache()?), self.name.clone());
        let bytes = run(py, move |stop| {
            let filter = selection.filter(&cache, &site)?;
            let mut bytes = Vec::new();
            for place in 0..cache.shards() {
                go_on(stop)?;
                let rows = ShardRows::of(&cache.shard(place)?, &site)?;
                bytes.extend((0..rows.len()).map(|row| u8::from(filter.keeps(&rows, row))));
            }
            Ok(bytes)
        })?;
        let rows = bytes.len();
        Ok(Words::new(bytes, vec![rows], "|b1"))
    }

    /// Batches of the rows that count. Counts them first, from the tables of all shards.
    #[pyo3(signature = (selection, settings, state=None))]
    fn batches(
        &self,
        py: Python<'_>,
        selection: Selection,
        settings: BatchSettings,
        state: Option<(String, Vec<u8>)>,
    ) -> PyResult<Batches> {
        Batches::open(py, &self.opened, &self.reader, &self.name, selection, settings, state)
    }
}
