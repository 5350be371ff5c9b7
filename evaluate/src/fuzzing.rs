//! The reader of partial results, exposed for fuzzing only. Not part of the public API.
//!
//! The seal is recomputed before reading, because random input would never match it and an attacker can forge it.

use hayloft_results::ResultsError;
use hayloft_runtime::{Part, Progress};

use crate::error::EvaluateError;
use crate::latents::{LatentsSettings, latents_part, merge_sealed_again};
use crate::parts::{PartialError, read_sealed_again};
use crate::run::run_part;
use crate::session::settings::RunSettings;

/// Serialises the single part of an evaluation as it is written, but with a fixed SAE folder.
pub fn only_part(settings: &RunSettings) -> Result<Vec<u8>, EvaluateError> {
    let results = run_part(settings, Part::WHOLE, Progress::Silent)?.with_folder("sae");
    results.bytes().map_err(|cause| ResultsError::Write { path: "input".into(), cause }.into())
}

/// Serialises the single part of statistics of latents as it is written, but with a fixed SAE folder.
pub fn only_part_of_latents(settings: &LatentsSettings) -> Result<Vec<u8>, EvaluateError> {
    let partial = latents_part(settings, Part::WHOLE, Progress::Silent)?.with_folder("sae");
    partial.bytes().map_err(|cause| PartialError::Write { path: "input".into(), cause }.into())
}

/// Reads a file of latents, adds it to itself, and writes the two files of what comes out.
pub fn partial_latents(bytes: &[u8]) -> Result<(), EvaluateError> {
    let out = tempfile::tempdir().map_err(|cause| PartialError::Write { path: "input".into(), cause })?;
    merge_sealed_again(bytes, out.path()).map(|report| drop(report.table(80)))
}

/// Reads a file that covers all shards of a cache, then computes and renders everything except intervals, whose cost
/// does not depend on the file.
pub fn partial_result(bytes: &[u8]) -> Result<(), PartialError> {
    let results = read_sealed_again(bytes)?;
    drop((results.table(80), results.details(80), results.markdown()));
    Ok(())
}
