//! A cache and its sites.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hayloft_store::{RemoteOptions, parse_bytes};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::Failure;
use crate::opened::Opened;
use crate::process::run;
use crate::sequence::SequenceColumns;
use crate::site::Site;
use crate::table::{Rows, Table};

/// A cache opened for reading.
#[pyclass(frozen, module = "hayloft._hayloft")]
#[derive(Debug)]
pub(crate) struct Cache {
    opened: Arc<Opened>,
}

#[pymethods]
impl Cache {
    /// Opens the cache in a folder or at a location.
    #[new]
    #[pyo3(signature = (place, *, cache_folder=None, cache_limit=None, instance_credentials=false))]
    fn new(
        py: Python<'_>,
        place: PathBuf,
        cache_folder: Option<PathBuf>,
        cache_limit: Option<String>,
        instance_credentials: bool,
    ) -> PyResult<Self> {
        let mut options = RemoteOptions { folder: cache_folder, instance_credentials, ..RemoteOptions::default() };
        if let Some(limit) = cache_limit {
            options.limit = parse_bytes(&limit).map_err(Failure::from)?;
        }
        let opened = run(py, move |_| Opened::at(place, &options))?;
        Ok(Self { opened: Arc::new(opened) })
    }

    /// The folder or location that was opened.
    #[getter]
    fn place(&self) -> &Path {
        &self.opened.place
    }

    /// The BLAKE3 of `manifest.json`, in hexadecimal digits.
    #[getter]
    fn manifest_blake3(&self) -> Result<&str, Failure> {
        Ok(self.opened.cache()?.manifest_blake3())
    }

    /// The summary of the manifest, as JSON.
    fn summary(&self) -> Result<String, Failure> {
        let summary = self.opened.cache()?.summary();
        serde_json::to_string(&summary).map_err(|error| Failure::invalid(error.to_string()))
    }

    /// Whether the cache was closed.
    #[getter]
    fn closed(&self) -> bool {
        self.opened.is_closed()
    }

    /// Closes the cache. Arrays that were read stay.
    fn close(&self) {
        self.opened.close();
    }

    /// One site, by its name or another name of the same activations.
    fn site(&self, name: &str) -> Result<Site, Failure> {
        Site::open(&self.opened, name)
    }

    /// The tokens of all shards.
    #[getter]
    fn tokens(&self) -> Result<Table, Failure> {
        Table::of(&self.opened, Rows::Tokens)
    }

    /// The sequences of all shards.
    #[getter]
    fn sequences(&self) -> Result<Table, Failure> {
        Table::of(&self.opened, Rows::Sequences)
    }

    /// The columns of a sequence; none if no shard has it.
    fn sequence<'py>(&self, py: Python<'py>, id: u64) -> PyResult<Option<Bound<'py, PyDict>>> {
        let opened = Arc::clone(&self.opened);
        let found = run(py, move |_| SequenceColumns::find(&opened, id))?;
        found.map(|columns| columns.into_dict(py)).transpose()
    }
}
