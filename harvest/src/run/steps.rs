//! The steps of a harvest: shards and their row groups cut into what the model takes at once.

use std::sync::Arc;

use hayloft_model::{Jobs, steps};
use hayloft_runtime::Gauge;
use hayloft_store::{Sequence, Turns};
use tch::Device;

use crate::error::HarvestError;

/// Some sequences of a row group.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) shard: usize,
    /// The tokens of the shard.
    tokens: Arc<Vec<u32>>,
    /// The first of them that is of this step.
    first_row: usize,
    /// The lengths of its sequences; their sum is the number of its rows.
    pub(super) lengths: Vec<usize>,
    /// The number of its rows.
    pub(super) rows: usize,
    /// What is whole with it.
    pub(super) completes: Completes,
}

/// What is whole once a step is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Completes {
    Nothing,
    RowGroup,
    /// The last row group too.
    Shard,
}

impl Step {
    /// The tokens of all its sequences, one after another, `[rows]`.
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

/// Hands over the steps of shards as their turns come, until nobody wants more.
pub(super) fn hand_over(
    mut turns: Turns,
    device: Device,
    stop: &dyn Fn() -> bool,
    gauge: &Gauge,
    jobs: &mut Jobs<Step>,
) -> Result<(), HarvestError> {
    // One who waits for others' shards waits in vain once a step has failed.
    while let Some(shard) = turns.next(&|| stop() || jobs.is_over())? {
        gauge.spare(turns.take_done_by_others());
        let (sequences, tokens) = turns.sequences_and_tokens(shard)?;
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
                    return Ok(()); // whoever stopped says why
                }
            }
        }
    }
    Ok(())
}
