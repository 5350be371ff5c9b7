//! The reader of partial results, for the fuzzer alone. No part of the crate's interface.
//!
//! What proves that a file is its writer's, its seal, is put right first: whoever makes up a file makes up its seal too.

use hayloft_results::ResultsError;
use hayloft_runtime::{Part, Progress};

use crate::error::EvaluateError;
use crate::parts::{PartialError, read_sealed_again};
use crate::run::run_part;
use crate::session::settings::RunSettings;

/// The bytes of the only part of an evaluation, as they are written, but for where the SAEs lie.
pub fn only_part(settings: &RunSettings) -> Result<Vec<u8>, EvaluateError> {
    let results = run_part(settings, Part::WHOLE, Progress::Silent)?.with_folder("sae");
    results.bytes().map_err(|cause| ResultsError::Write { path: "input".into(), cause }.into())
}

/// Reads a file of all shards of a cache, and computes and prints all that follows from it but intervals, which take their time
/// whatever the file says.
pub fn partial_result(bytes: &[u8]) -> Result<(), PartialError> {
    let results = read_sealed_again(bytes)?;
    drop((results.table(), results.details(), results.markdown()));
    Ok(())
}
