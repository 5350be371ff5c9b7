//! One result of an experiment.

use hayloft_results::SaeResult;

use crate::experiment::role::{ModelRole, SaeRole};

/// One result and its role in the experiment.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) dataset: String,
    pub(crate) family: String,
    pub(crate) model: ModelRole,
    pub(crate) sae: SaeRole,
    pub(crate) result: SaeResult,
    /// The file that contains the result.
    pub(crate) file: std::path::PathBuf,
}
