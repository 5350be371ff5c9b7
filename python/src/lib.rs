//! The extension module `hayloft._hayloft`: caches read and written from Python. The package's Python files give it its interface.
//!
//! ```text
//!  cache     a cache and its sites
//!  opened    a cache that these objects share
//!  sequence  one sequence
//!  site      rows of a site by number
//!  table     tokens and sequences as Arrow streams
//!  batches   batches of a site, drawn ahead by a thread
//!  planner   a plan of sequences
//!  writer    a cache that is filled with activations
//!  words     arrays that numpy takes without a copy
//!  selection which rows count
//!  process   the threads of this process, and waiting for them
//!  error     exceptions
//! ```
//!
//! Python's lock is released while files are read, and Ctrl-C is looked for meanwhile.

mod batches;
mod cache;
mod error;
mod opened;
mod planner;
mod process;
mod selection;
mod sequence;
mod site;
mod table;
mod words;
mod writer;

/// Caches read and written from Python.
#[pyo3::pymodule]
mod _hayloft {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::batches::Batches;
    #[pymodule_export]
    use crate::cache::Cache;
    #[pymodule_export]
    use crate::planner::Planner;
    #[pymodule_export]
    use crate::site::Site;
    #[pymodule_export]
    use crate::table::Table;
    #[pymodule_export]
    use crate::words::Words;
    #[pymodule_export]
    use crate::writer::Writer;
    #[pymodule_export]
    use crate::writer::WriterSettings;

    /// The version of the package.
    #[pyfunction]
    fn version() -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// The names of all sections.
    #[pyfunction]
    fn sections() -> Vec<&'static str> {
        hayloft_store::Section::ALL.map(hayloft_store::Section::as_str).to_vec()
    }

    /// The BLAKE3 of some bytes, in hexadecimal digits.
    #[pyfunction]
    fn blake3_hex(data: &[u8]) -> String {
        blake3::hash(data).to_hex().to_string()
    }
}
