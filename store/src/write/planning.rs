//! A plan that a writer needs: written, or compared with the one that the folder has.

use std::path::{Path, PathBuf};

use crate::error::{Result, StoreError, joined};
use crate::format::plan::{PLAN_FILE, PlanReader, PlanWriter};
use crate::format::records::Corpus;
use crate::format::settings::Existing;
use crate::format::tables::sequences::Sequence;
use crate::format::tables::tokens::Tokens;

/// The plan of a cache that is filled from given tokens. The first call writes it; when resuming, the same tokens are
/// compared with it.
#[derive(Debug)]
pub struct Planning {
    folder: PathBuf,
    plan: NewOrExisting,
}

#[derive(Debug)]
enum NewOrExisting {
    New(PlanWriter),
    /// An existing plan, and the number of its shards compared so far.
    Existing(Box<PlanReader>, usize),
}

impl Planning {
    /// Starts a plan in `folder`, which is created if needed, or opens the one that it has.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if there is a plan and `existing` forbids it.
    pub fn begin(folder: &Path, existing: Existing) -> Result<Self> {
        let plan = if existing == Existing::Resume && folder.join(PLAN_FILE).exists() {
            NewOrExisting::Existing(Box::new(PlanReader::open(folder)?), 0)
        } else {
            NewOrExisting::New(PlanWriter::create(folder)?)
        };
        Ok(Self { folder: folder.to_owned(), plan })
    }

    /// Adds the next shard.
    ///
    /// # Errors
    /// As [`PlanWriter::add_shard`]; [`StoreError::Mismatch`] if an existing plan has other tokens.
    pub fn add_shard(&mut self, sequences: &[Sequence], tokens: &Tokens) -> Result<()> {
        match &mut self.plan {
            NewOrExisting::New(writer) => writer.add_shard(sequences, tokens),
            NewOrExisting::Existing(plan, next) => {
                let index = *next;
                *next += 1;
                let (planned, planned_tokens) = plan.sequences_and_tokens(index)?;
                if planned == sequences && planned_tokens == *tokens {
                    return Ok(());
                }
                Err(differs(&self.folder, &format!("the tokens of shard {index}"), "those given", "others"))
            }
        }
    }

    /// Writes `plan.json`, or compares the corpus of an existing one.
    ///
    /// # Errors
    /// [`StoreError::Mismatch`] if an existing plan has another corpus or more shards.
    pub fn finish(self, corpus: Corpus) -> Result<()> {
        let (plan, shards) = match self.plan {
            NewOrExisting::New(writer) => return writer.finish(corpus).map(|_| ()),
            NewOrExisting::Existing(plan, shards) => (plan, shards),
        };
        let (recorded, planned) = (&plan.plan().corpus, plan.plan().shards.len());
        if recorded.data.files != corpus.data.files {
            let (expected, got) = (joined(&corpus.data.files), joined(&recorded.data.files));
            return Err(differs(&self.folder, "the files", expected, got));
        }
        if planned != shards {
            return Err(differs(&self.folder, "the number of shards", shards.to_string(), planned.to_string()));
        }
        if *recorded != corpus {
            return Err(differs(&self.folder, "the corpus", json(&corpus), json(recorded)));
        }
        Ok(())
    }
}

fn differs(folder: &Path, field: &str, expected: impl Into<String>, got: impl Into<String>) -> StoreError {
    let (path, field) = (folder.join(PLAN_FILE), field.to_owned());
    StoreError::Mismatch { path, field, expected: expected.into(), got: got.into() }
}

fn json(corpus: &Corpus) -> String {
    serde_json::to_string(corpus).unwrap_or_default()
}
