//! Whether one writer or several fill a cache.

use std::path::{Path, PathBuf};

use crate::fs::lock::Lock;
#[cfg(feature = "workers")]
use crate::fs::staged::partial_of;
#[cfg(feature = "workers")]
use crate::workers::Worker;

/// Whether other workers fill the cache too.
#[derive(Debug)]
pub(crate) enum WriteMode {
    /// No other worker: this writer holds the cache's exclusive lock.
    Exclusive { _lock: Lock },
    /// Other workers, with claims on shards.
    #[cfg(feature = "workers")]
    Shared(Box<Worker>),
}

impl WriteMode {
    /// The temporary folder that becomes `destination`, if it is not the usual one.
    #[cfg_attr(not(feature = "workers"), expect(unused_variables, reason = "one writer has one name"))]
    pub(crate) fn temporary(&self, destination: &Path) -> Option<PathBuf> {
        match self {
            Self::Exclusive { .. } => None,
            #[cfg(feature = "workers")]
            Self::Shared(worker) => Some(partial_of(&worker.name, destination)),
        }
    }
}
