//! Summary of baselines computed without an evaluation.

use std::fmt;
use std::path::PathBuf;

use hayloft_runtime::{Part, words};
use serde::Serialize;

use crate::session::context::EvaluationContext;
use crate::session::shard_range::ShardRange;

/// The baselines now stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PreparedBaselines {
    /// The folder of the baselines.
    pub folder: PathBuf,
    /// `I/N`; `None` for the whole cache.
    pub part: Option<String>,
    /// Numbers of the shards covered.
    pub shards: Vec<usize>,
    /// Number of shards in the cache.
    pub of_shards: usize,
}

impl PreparedBaselines {
    pub(crate) fn of(context: &EvaluationContext, range: &ShardRange) -> Self {
        Self {
            folder: context.baselines.clone(),
            part: range.part.as_ref().map(Part::to_string),
            shards: range.numbers(&context.cache),
            of_shards: context.cache.shards(),
        }
    }
}

impl fmt::Display for PreparedBaselines {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { folder, part, shards, of_shards } = self;
        if let Some(part) = part {
            write!(formatter, "part {part}: ")?;
        }
        write!(formatter, "baselines of {} of {of_shards} shards", shards.len())?;
        if !shards.is_empty() {
            write!(formatter, " ({})", words::list(shards))?;
        }
        write!(formatter, " are in {}", folder.display())
    }
}
