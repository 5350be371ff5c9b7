//! The tables of a shard.

use bytes::Bytes;
use hayloft_store::{KeptPredictions, fuzzing};

use crate::Outcome;
use crate::outcome::words;
use crate::seeds::cache::{TOP_K, sequences_of_seed, site};

/// `sequences.parquet`.
pub(super) fn sequences(input: &[u8]) -> Outcome {
    let rows = sequences_of_seed().iter().map(|sequence| u64::from(sequence.length)).sum();
    let sequences = fuzzing::sequences(Bytes::copy_from_slice(input), rows).map_err(words)?;
    drop(hayloft_store::row_group_rows(&sequences));
    Ok(())
}

/// `tokens.parquet`: the columns that the plan has too.
pub(super) fn tokens(input: &[u8]) -> Outcome {
    fuzzing::tokens(Bytes::copy_from_slice(input), &sequences_of_seed()).map_err(words).map(drop)
}

/// `tokens.parquet`: what the forward pass added.
pub(super) fn predictions(input: &[u8]) -> Outcome {
    let bytes = Bytes::copy_from_slice(input);
    let norms = fuzzing::norms(bytes.clone(), &site()).map_err(words);
    fuzzing::predictions(bytes, KeptPredictions { top_k: TOP_K, full_logits: false }).map_err(words)?;
    norms.map(drop)
}
