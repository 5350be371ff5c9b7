//! Hands out the shards to fill.

use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::format::tables::sequences::Sequence;
use crate::format::tables::tokens::Tokens;
#[cfg(feature = "workers")]
use crate::workers::Others;
use crate::write::core::WriterCore;
use crate::write::mode::WriteMode;

/// The shards of a range that are not whole, handed out one at a time. With other workers, each shard is claimed first. A
/// shard claimed by another worker is waited for, or taken over once that worker is gone.
#[derive(Debug)]
pub struct ShardQueue {
    core: Arc<WriterCore>,
    /// Shards that were not whole at the last look, the next one first.
    left: Vec<usize>,
    #[cfg(feature = "workers")]
    others: Others,
}

impl ShardQueue {
    pub(crate) fn new(core: Arc<WriterCore>, range: Range<usize>, is_whole: impl Fn(usize) -> bool) -> Result<Self> {
        let left = match &core.mode {
            WriteMode::Exclusive { .. } => Ok(range.filter(|shard| !is_whole(*shard)).collect()),
            #[cfg(feature = "workers")]
            WriteMode::Shared(worker) => worker.missing(&core, range.collect()),
        };
        Ok(Self {
            left: left?,
            core,
            #[cfg(feature = "workers")]
            others: Others::default(),
        })
    }

    /// Returns whether no shard is left to fill.
    pub fn is_over(&self) -> bool {
        self.left.is_empty()
    }

    /// Returns the tokens of the shards that are left.
    pub fn tokens(&self) -> u64 {
        // Counts in a plan are untrusted, so the sum must not overflow.
        let tokens = self.left.iter().map(|shard| self.core.plan.plan().shards[*shard].counts.tokens);
        tokens.fold(0, u64::saturating_add)
    }

    /// Returns the tokens that other workers have filled since the last call.
    #[cfg(feature = "workers")]
    pub fn take_done_by_others(&mut self) -> u64 {
        std::mem::take(&mut self.others.done)
    }

    /// Returns the sequences and tokens of a shard that was handed out.
    pub fn sequences_and_tokens(&self, shard: usize) -> Result<(Vec<Sequence>, Tokens)> {
        self.core.plan.sequences_and_tokens(shard)
    }

    /// Returns the next shard to fill; `None` when all are whole or `stop` returns `true`.
    pub fn next(&mut self, stop: &dyn Fn() -> bool) -> Result<Option<usize>> {
        match &self.core.mode {
            WriteMode::Exclusive { .. } => {
                Ok(if stop() || self.left.is_empty() { None } else { Some(self.left.remove(0)) })
            }
            #[cfg(feature = "workers")]
            WriteMode::Shared(worker) => worker.next(&self.core, &mut self.left, &mut self.others, stop),
        }
    }
}
