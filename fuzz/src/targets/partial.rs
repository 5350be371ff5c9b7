//! Partial results of evaluations.

use hayloft_evaluate::fuzzing;

use crate::Outcome;
use crate::outcome::words;

/// A part of all shards, its seal put right.
pub(super) fn result(input: &[u8]) -> Outcome {
    fuzzing::partial_result(input).map_err(words)
}
