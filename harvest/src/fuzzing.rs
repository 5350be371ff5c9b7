//! The writer of rollouts files, for the fuzzer's seeds alone. No part of the crate's interface.

use std::path::Path;

use crate::rollouts::{RolloutError, RolloutRow, RolloutsRecord, write_rollouts};

/// Writes a rollouts file with `record`, the JSON of how it was made.
pub fn rollouts_file(path: &Path, record: &str, rows: &[RolloutRow]) -> Result<(), RolloutError> {
    let record: RolloutsRecord = serde_json::from_str(record)
        .map_err(|error| RolloutError::Damaged { path: path.to_owned(), problem: error.to_string() })?;
    write_rollouts(path, &record, rows)
}
