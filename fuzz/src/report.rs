//! What a campaign found.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One target's part of a campaign.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TargetReport {
    /// The target.
    pub target: &'static str,
    /// Inputs that were run.
    pub executions: u64,
    /// Of those, a second.
    pub per_second: f64,
    /// Inputs that were mutated: the corpus and what came somewhere new.
    pub inputs: usize,
    /// What went wrong.
    pub failures: Vec<FailureReport>,
}

/// An input that a reader did not survive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureReport {
    /// The input.
    pub file: PathBuf,
    /// What happened: a panic with its place, or how the process ended.
    pub problem: String,
}

/// What a worker says, a line each.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Message {
    /// Inputs run so far, and inputs in the pool.
    Progress { executions: u64, inputs: usize },
    /// An input that a reader panicked at.
    Failure(FailureReport),
}
