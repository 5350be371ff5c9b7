//! Activation files.

use bytes::Bytes;
use hayloft_store::fuzzing;

use crate::Outcome;
use crate::outcome::words;

/// An activation file, whose footer is taken to be the one that its shard's record names.
pub(super) fn activations(input: &[u8]) -> Outcome {
    let reader = fuzzing::activations(Bytes::copy_from_slice(input)).map_err(words)?;
    let mut bits = Vec::new();
    for row_group in 0..reader.row_groups() {
        reader.prefetch(row_group);
        let read = reader.read(row_group, &mut bits);
        // The last rows alone, which begin anywhere in a block.
        let rows = reader.rows(row_group);
        let last = reader.read_rows(row_group, rows.saturating_sub(2)..rows, &mut bits);
        let viewed = reader.view(row_group);
        reader.release(row_group);
        read.map_err(words)?;
        last.map_err(words)?;
        viewed.map_err(words)?;
    }
    Ok(())
}
