//! The identity of a model, with progress.

use hayloft_checkpoint::{Checkpoint, CheckpointError};
use hayloft_runtime::{ModelIdentity, Progress};

/// Identifies the model of a checkpoint, with progress in bytes.
pub(crate) fn identify(checkpoint: &Checkpoint, progress: Progress) -> Result<ModelIdentity, CheckpointError> {
    let gauge = progress.bytes("identifying the model", Some(checkpoint.tensor_bytes()));
    checkpoint.identity(&|bytes| gauge.advance(bytes))
}
