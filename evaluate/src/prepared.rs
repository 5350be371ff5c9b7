//! What is told of baselines that were computed without an evaluation.

use std::fmt;
use std::path::PathBuf;

use hayloft_terminal::Part;
use serde::Serialize;

use crate::numbers::in_words;
use crate::share::Share;
use crate::subject::Subject;

/// Baselines that are kept now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PreparedBaselines {
    /// The folder in which they are kept.
    pub folder: PathBuf,
    /// `I/N`; `None` for those of the whole cache.
    pub part: Option<String>,
    /// The numbers of the shards that they are of.
    pub shards: Vec<usize>,
    /// How many shards the cache has.
    pub of_shards: usize,
}

impl PreparedBaselines {
    pub(crate) fn of(subject: &Subject, share: &Share) -> Self {
        Self {
            folder: subject.baselines.clone(),
            part: share.part.as_ref().map(Part::to_string),
            shards: share.numbers(&subject.cache),
            of_shards: subject.cache.shards(),
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
            write!(formatter, " ({})", in_words(shards))?;
        }
        write!(formatter, " are in {}", folder.display())
    }
}
