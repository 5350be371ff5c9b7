//! One result of an experiment.

use hayloft_results::SaeResult;

use super::role::{ModelRole, SaeRole};

/// One result and its role in the experiment.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) dataset: String,
    pub(super) family: String,
    pub(super) model: ModelRole,
    pub(super) sae: SaeRole,
    pub(super) result: SaeResult,
    /// The file that contains the result.
    pub(super) file: std::path::PathBuf,
}
