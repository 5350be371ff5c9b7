//! Cuts shards and row groups into steps for the model.

use std::sync::Arc;

use hayloft_model::{Jobs, steps};
use hayloft_runtime::Gauge;
use hayloft_store::{Sequence, ShardQueue};
use tch::Device;

use crate::error::HarvestError;

/// A step: some sequences of a row group.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) shard: usize,
    /// The shard's tokens.
    tokens: Arc<Vec<u32>>,
    /// Index of the step's first token.
    first_row: usize,
    /// Lengths of the step's sequences; their sum is `rows`.
    pub(super) lengths: Vec<usize>,
    /// Number of rows.
    pub(super) rows: usize,
    /// What this step completes.
    pub(super) completes: Completes,
}

/// What a step completes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Completes {
    Nothing,
    RowGroup,
    /// The shard, with its last row group.
    Shard,
}

impl Step {
    /// Returns the tokens of all sequences, concatenated, `[rows]`.
    pub(super) fn tokens(&self) -> &[u32] {
        &self.tokens[self.first_row..self.first_row + self.rows]
    }

    #[cfg(test)]
    pub(super) fn of(tokens: &[u32], lengths: &[usize]) -> Self {
        Self {
            shard: 0,
            tokens: Arc::new(tokens.to_vec()),
            first_row: 0,
            lengths: lengths.to_vec(),
            rows: tokens.len(),
            completes: Completes::Shard,
        }
    }
}

/// Sends the steps of shards in turn, until the shards or the receiver end.
pub(super) fn send_steps(
    mut queue: ShardQueue,
    device: Device,
    stop: &dyn Fn() -> bool,
    gauge: &Gauge,
    jobs: &mut Jobs<Step>,
) -> Result<(), HarvestError> {
    // After a failed step, waiting for other workers' shards is pointless.
    while let Some(shard) = queue.next(&|| stop() || jobs.is_over())? {
        gauge.shrink_total(queue.take_done_by_others());
        let (sequences, tokens) = queue.sequences_and_tokens(shard)?;
        let tokens = Arc::new(tokens.token);
        let mut first_row = 0;
        for group in sequences.chunk_by(|one, other| one.row_group == other.row_group) {
            let lengths: Vec<usize> = group.iter().map(|sequence: &Sequence| sequence.length as usize).collect();
            for step in steps(&lengths, device) {
                let last = step.end == lengths.len();
                let lengths = lengths[step].to_vec();
                let rows = lengths.iter().sum();
                let completes = match last {
                    false => Completes::Nothing,
                    true if first_row + rows == tokens.len() => Completes::Shard,
                    true => Completes::RowGroup,
                };
                let next = Step { shard, tokens: Arc::clone(&tokens), first_row, lengths, rows, completes };
                first_row += rows;
                if jobs.send(next).is_err() {
                    return Ok(()); // the receiver reports the error
                }
            }
        }
    }
    Ok(())
}
