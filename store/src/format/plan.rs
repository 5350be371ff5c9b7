//! The plan: the assignment of tokens to shards, made before the forward pass.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::FORMAT_VERSION;
use crate::error::{Result, StoreError};
use crate::format::records::{Corpus, Counts, FileRecord};
use crate::format::tables::columns::TableWriter;
use crate::format::tables::sequences::{self, Sequence};
use crate::format::tables::tokens::{self, Tokens};
use crate::fs::disk::Disk;
use crate::fs::folder::Folder;
use crate::fs::hash::{HashingFile, blake3_hex, read_verified};
use crate::fs::json;
use crate::fs::lock::Lock;
use crate::fs::machine::machine;
use crate::fs::staged::{StagedFolder, create_folder, create_folders, discard, remove_leftovers, replace_file};
#[cfg(feature = "remote")]
use crate::remote::{Location, Remote, RemoteOptions};

pub(crate) const PLAN_FILE: &str = "plan.json";
pub(crate) const PLAN_FOLDER: &str = "plan";
pub(crate) const SEQUENCES_FILE: &str = "sequences.parquet";
pub(crate) const TOKENS_FILE: &str = "tokens.parquet";

/// Returns the name of the folder of shard `index`, under `plan/` and `shards/`.
pub(crate) fn shard_name(index: usize) -> String {
    format!("{index:05}")
}

/// The contents of `plan.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Format version.
    pub format: u32,
    /// The corpus.
    pub corpus: Corpus,
    /// Counts over all shards.
    pub counts: Counts,
    /// The shards.
    pub shards: Vec<PlanShard>,
}

/// A planned shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanShard {
    /// Counts of sequences and tokens.
    pub counts: Counts,
    /// The shard's tables, `sequences.parquet` first. Paths are relative to the cache folder.
    pub files: Vec<FileRecord>,
}

/// A parsed plan, with access to the tables of its shards.
#[derive(Clone, Debug)]
pub struct PlanReader {
    folder: Folder,
    path: PathBuf,
    plan: Plan,
    blake3: String,
}

impl PlanReader {
    /// Reads `plan.json` in a cache folder.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(PLAN_FILE);
        if !path.exists() {
            return Err(StoreError::MissingPlan { folder: folder.to_owned() });
        }
        let path = Folder::new(folder).locate(folder, PLAN_FILE)?;
        let bytes = json::read(&path)?;
        let plan: Plan = json::unseal(&path, &bytes)?;
        for shard in &plan.shards {
            if shard.files.len() != 2 {
                return Err(StoreError::Malformed {
                    path,
                    expected: "two files for each shard".to_owned(),
                    got: shard.files.len().to_string(),
                });
            }
        }
        Ok(Self { folder: Folder::new(folder), path, plan, blake3: blake3_hex(&bytes) })
    }

    /// Returns the plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Returns the BLAKE3 of `plan.json`.
    pub fn blake3(&self) -> &str {
        &self.blake3
    }

    pub(crate) fn shard(&self, index: usize) -> Result<&PlanShard> {
        self.plan.shards.get(index).ok_or_else(|| {
            let what = format!("{}: shard", self.path.display());
            StoreError::invalid(what, format!("less than the {} planned", self.plan.shards.len()), index)
        })
    }

    /// Returns the path and record of a shard's file: `which` is 0 for the sequences and 1 for the tokens.
    pub(crate) fn file(&self, index: usize, which: usize) -> Result<(PathBuf, &FileRecord)> {
        let record = &self.shard(index)?.files[which];
        Ok((self.folder.locate(&self.path, &record.path)?, record))
    }

    /// Reads the sequences of a shard.
    pub fn sequences(&self, index: usize) -> Result<Vec<Sequence>> {
        let counts = &self.shard(index)?.counts;
        let (path, record) = self.file(index, 0)?;
        sequences::read(&path, read_verified(&path, record)?, counts.sequences, counts.tokens)
    }

    /// Reads the sequences and tokens of a shard.
    pub fn sequences_and_tokens(&self, index: usize) -> Result<(Vec<Sequence>, Tokens)> {
        let sequences = self.sequences(index)?;
        let (path, record) = self.file(index, 1)?;
        let bytes = read_verified(&path, record)?;
        let tokens = tokens::read(&path, bytes, self.shard(index)?.counts.tokens, &sequences)?;
        Ok((sequences, tokens))
    }
}

/// Reads the plan of a cache in a folder or at a location.
///
/// # Errors
/// [`StoreError::MissingPlan`] without a plan.
#[cfg(feature = "remote")]
pub fn plan_at(place: &Path, options: &RemoteOptions) -> Result<Plan> {
    let Some(location) = Location::of_place(place)? else { return Ok(PlanReader::open(place)?.plan) };
    let fetched = Remote::connect(&location, options)?.get(PLAN_FILE)?;
    let fetched = fetched.ok_or_else(|| StoreError::MissingPlan { folder: PathBuf::from(location.to_string()) })?;
    json::unseal(location.join(PLAN_FILE).as_ref(), &fetched.bytes)
}

/// Writes the token table of a planned shard.
pub(crate) fn write_tokens<W: Write + Send>(path: &Path, sink: &mut W, tokens: &Tokens) -> Result<()> {
    let mut table = TableWriter::new(path, sink, tokens.fields(), &tokens::REPETITIVE)?;
    for rows in tokens::batches(tokens.len()) {
        table.write(path, tokens.columns(rows))?;
    }
    table.finish(path)
}

/// Writes a plan shard by shard. `plan.json` is written last and commits the plan. Dropping the writer before that
/// removes its shards.
#[derive(Debug)]
pub struct PlanWriter {
    folder: PathBuf,
    disk: Arc<dyn Disk>,
    shards: Vec<PlanShard>,
    _lock: Lock,
}

impl PlanWriter {
    /// Starts a plan in `folder`, which is created if needed.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if there is a plan already, [`StoreError::Locked`] if another process holds the lock.
    pub fn create(folder: &Path) -> Result<Self> {
        Self::create_on(machine(), folder)
    }

    pub(crate) fn create_on(disk: Arc<dyn Disk>, folder: &Path) -> Result<Self> {
        create_folders(disk.as_ref(), folder)?;
        let lock = Lock::take(folder)?;
        let path = folder.join(PLAN_FILE);
        if path.exists() {
            return Err(StoreError::Exists { path });
        }
        remove_leftovers(disk.as_ref(), folder)?;
        // Left by a killed process. Nothing refers to these shards without plan.json.
        discard(disk.as_ref(), &folder.join(PLAN_FOLDER))?;
        create_folder(disk.as_ref(), &folder.join(PLAN_FOLDER))?;
        Ok(Self { folder: folder.to_owned(), disk, shards: Vec::new(), _lock: lock })
    }

    /// Adds the next shard.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if there are no sequences, if they are not contiguous from row 0 and row group 0, or if
    /// the tokens do not match the sequences.
    pub fn add_shard(&mut self, sequences: &[Sequence], tokens: &Tokens) -> Result<()> {
        if sequences.is_empty() {
            return Err(StoreError::invalid("a shard's sequences", "at least one", "none"));
        }
        tokens.check(sequences).map_err(|got| StoreError::invalid("a shard's tokens", tokens::ORDER, got))?;
        let name = shard_name(self.shards.len());
        let staged = StagedFolder::create(Arc::clone(&self.disk), self.folder.join(PLAN_FOLDER).join(&name))?;
        let recorded = |file| format!("{PLAN_FOLDER}/{name}/{file}");

        let path = staged.file(SEQUENCES_FILE);
        let mut sink = HashingFile::create(self.disk.as_ref(), &path)?;
        sequences::write(&path, &mut sink, sequences)?;
        let sequences_record = sink.finish(&path, recorded(SEQUENCES_FILE))?;

        let path = staged.file(TOKENS_FILE);
        let mut sink = HashingFile::create(self.disk.as_ref(), &path)?;
        write_tokens(&path, &mut sink, tokens)?;
        let tokens_record = sink.finish(&path, recorded(TOKENS_FILE))?;

        staged.commit()?;
        let counts = tokens.counts(sequences.len());
        self.shards.push(PlanShard { counts, files: vec![sequences_record, tokens_record] });
        Ok(())
    }

    /// Writes `plan.json`.
    pub fn finish(mut self, corpus: Corpus) -> Result<Plan> {
        if self.shards.is_empty() {
            return Err(StoreError::invalid("a plan's shards", "at least one", "none: there was no text"));
        }
        let mut counts = Counts::default();
        for shard in &self.shards {
            counts.add(&shard.counts);
        }
        let plan = Plan { format: FORMAT_VERSION, corpus, counts, shards: std::mem::take(&mut self.shards) };
        let path = self.folder.join(PLAN_FILE);
        replace_file(self.disk.as_ref(), &path, &json::seal(&path, &plan)?)?;
        Ok(plan)
    }
}

impl Drop for PlanWriter {
    fn drop(&mut self) {
        if !self.folder.join(PLAN_FILE).exists() {
            // Best effort: `drop` cannot return the error, and the next plan removes leftovers.
            let _ = discard(self.disk.as_ref(), &self.folder.join(PLAN_FOLDER));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::failing::FailingDisk;
    use crate::support::{corpus, files_below, lengths, shard_data, write_plan};

    fn plan(disk: FailingDisk, folder: &Path) -> Result<Plan> {
        let mut writer = PlanWriter::create_on(Arc::new(disk), folder)?;
        for shard in 0..lengths().len() {
            let (sequences, tokens) = shard_data(&lengths(), shard);
            writer.add_shard(&sequences, &tokens)?;
        }
        writer.finish(corpus())
    }

    #[test]
    fn a_disk_that_breaks_at_any_operation_leaves_a_whole_plan_or_none() {
        let whole = tempfile::tempdir().unwrap();
        write_plan(whole.path(), &lengths());
        let expected = files_below(whole.path());
        for operation in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let planned = plan(FailingDisk::breaks_at(operation), folder.path());
            let there = files_below(folder.path());
            if planned.is_ok() {
                assert!(operation > 20, "{operation} operations are too few to be all");
                assert_eq!(there, expected);
                break;
            }
            // No partial files, and plan.json only with a complete plan. If renames fail, unreferenced shards may
            // remain.
            assert!(there.iter().all(|(name, bytes)| expected.get(name) == Some(bytes)), "operation {operation}");
            assert!(there == expected || !there.contains_key(PLAN_FILE), "operation {operation}: {:?}", there.keys());
            if there != expected {
                plan(FailingDisk::breaks_at(i64::MAX), folder.path()).unwrap();
                assert_eq!(files_below(folder.path()), expected);
            }
        }
    }
}
