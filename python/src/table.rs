//! Tables as Arrow streams.

use std::ffi::CStr;
use std::sync::Arc;

use arrow_array::ffi::FFI_ArrowSchema;
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::{RecordBatch, RecordBatchIterator};
use arrow_schema::Schema;
use hayloft_store::Cache;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::error::Failure;
use crate::opened::Opened;
use crate::process::{go_on, run};

/// Names that the Arrow `PyCapsule` interface gives.
const STREAM: &CStr = c"arrow_array_stream";
const SCHEMA: &CStr = c"arrow_schema";

/// What a table has a row for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    Tokens,
    Sequences,
}

/// A table of a cache, read when it is taken.
#[pyclass(frozen, module = "hayloft._hayloft")]
#[derive(Debug)]
pub(crate) struct Table {
    opened: Arc<Opened>,
    rows: Rows,
    schema: Arc<Schema>,
    /// The columns of the whole table that this one has.
    columns: Vec<usize>,
}

impl Table {
    pub(crate) fn of(opened: &Arc<Opened>, rows: Rows) -> Result<Self, Failure> {
        let schema = match rows {
            Rows::Tokens => opened.cache()?.token_schema(),
            Rows::Sequences => Cache::sequence_schema(),
        };
        let columns = (0..schema.fields().len()).collect();
        Ok(Self { opened: Arc::clone(opened), rows, schema, columns })
    }

    fn read(&self, py: Python<'_>) -> PyResult<Vec<RecordBatch>> {
        let (cache, rows, columns) = (Arc::clone(self.opened.cache()?), self.rows, self.columns.clone());
        run(py, move |stop| {
            let mut first_row = 0;
            let mut batches = Vec::with_capacity(cache.shards());
            for place in 0..cache.shards() {
                go_on(stop)?;
                let shard = cache.shard(place)?;
                let batch = match rows {
                    Rows::Tokens => shard.token_batch()?,
                    Rows::Sequences => shard.sequence_batch(first_row)?,
                };
                first_row += shard.record().counts.tokens;
                batches.push(batch.project(&columns).map_err(|error| Failure::invalid(error.to_string()))?);
            }
            Ok(batches)
        })
    }
}

#[pymethods]
impl Table {
    /// The names of the columns.
    #[getter]
    fn columns(&self) -> Vec<&str> {
        self.schema.fields().iter().map(|field| field.name().as_str()).collect()
    }

    /// The table with these columns alone.
    fn select(&self, names: Vec<String>) -> Result<Self, Failure> {
        let find = |name: String| {
            let found = self.schema.index_of(&name);
            found.map_err(|_| {
                Failure::new(
                    "unknown_column",
                    format!("expected one of the columns {}, got {name}", self.columns().join(", ")),
                )
            })
        };
        let chosen = names.into_iter().map(find).collect::<Result<Vec<_>, _>>()?;
        let fields: Vec<_> = chosen.iter().map(|index| self.schema.fields()[*index].clone()).collect();
        let columns = chosen.iter().map(|index| self.columns[*index]).collect();
        Ok(Self { opened: Arc::clone(&self.opened), rows: self.rows, schema: Arc::new(Schema::new(fields)), columns })
    }

    /// The schema, by Arrow's `PyCapsule` interface.
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        let schema = FFI_ArrowSchema::try_from(self.schema.as_ref());
        PyCapsule::new_with_value(py, schema.map_err(|error| Failure::invalid(error.to_string()))?, SCHEMA)
    }

    /// The rows, by Arrow's `PyCapsule` interface. Reads the tables of all shards.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // The interface allows to give another schema than the requested one, which the consumer then converts.
        drop(requested_schema);
        let batches = self.read(py)?;
        let reader = RecordBatchIterator::new(batches.into_iter().map(Ok), Arc::clone(&self.schema));
        PyCapsule::new_with_value(py, FFI_ArrowArrayStream::new(Box::new(reader)), STREAM)
    }
}
