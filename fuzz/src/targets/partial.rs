//! Partial results of evaluations and of statistics of latents.

use hayloft_evaluate::fuzzing;

use crate::Outcome;
use crate::outcome::words;

/// A part of all shards, its seal put right.
pub(super) fn latents(input: &[u8]) -> Outcome {
    fuzzing::partial_latents(input).map_err(words)
}

/// A part of all shards, its seal put right.
pub(super) fn result(input: &[u8]) -> Outcome {
    fuzzing::partial_result(input).map_err(words)
}
