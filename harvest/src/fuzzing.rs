//! The writer of rollouts files, for the fuzzer's seeds. Not part of the public API.

use std::path::Path;

use crate::rollouts::{RolloutError, RolloutRow, RolloutsRecord, write_rollouts};

/// Writes a rollouts file. `record` is the JSON of a `RolloutsRecord`.
pub fn rollouts_file(path: &Path, record: &str, rows: &[RolloutRow]) -> Result<(), RolloutError> {
    let record: RolloutsRecord = serde_json::from_str(record)
        .map_err(|error| RolloutError::Damaged { path: path.to_owned(), problem: error.to_string() })?;
    write_rollouts(path, &record, rows)
}
