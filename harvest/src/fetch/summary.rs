//! What was fetched, for people and for programs.

use std::fmt;
use std::path::PathBuf;

use indicatif::HumanBytes;
use serde::Serialize;

use super::names::{Commit, EntryName, FileName, RepoId};
use super::{EntryKind, FetchedFile};
use crate::data::Sha256;

/// What became of the entries that were asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FetchSummary {
    /// One for each entry, in the manifest's order.
    pub entries: Vec<EntrySummary>,
}

/// What became of one entry.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EntrySummary {
    /// Its name.
    pub name: EntryName,
    /// What it is.
    pub kind: EntryKind,
    /// Its repository.
    pub repo: RepoId,
    /// The commit that it is of.
    pub commit: Commit,
    /// What was done.
    pub outcome: FetchOutcome,
    /// Where it lies, or would.
    pub folder: PathBuf,
    /// Its files.
    pub files: Vec<FileSummary>,
    /// The size of the files together, as far as it is known.
    pub bytes: u64,
    /// Bytes that came over the network.
    pub received: u64,
}

/// What was done about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FetchOutcome {
    /// Nothing: it was there.
    Present,
    /// It was fetched.
    Fetched,
    /// It would have been fetched.
    WouldFetch,
}

/// A file of an entry.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FileSummary {
    /// Its name in the folder.
    pub name: FileName,
    /// Its size, if it is known.
    pub bytes: Option<u64>,
    /// Its hash, if it is known.
    pub sha256: Option<Sha256>,
}

impl From<&FetchedFile> for FileSummary {
    fn from(file: &FetchedFile) -> Self {
        Self { name: file.name.clone(), bytes: Some(file.bytes), sha256: Some(file.sha256.clone()) }
    }
}

impl fmt::Display for FetchSummary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, entry) in self.entries.iter().enumerate() {
            if index > 0 {
                writeln!(formatter)?;
            }
            write!(formatter, "{entry}")?;
        }
        Ok(())
    }
}

impl fmt::Display for EntrySummary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, kind, repo, commit, folder, files, .. } = self;
        let did = match self.outcome {
            FetchOutcome::Present => "is there",
            FetchOutcome::Fetched => "fetched",
            FetchOutcome::WouldFetch => "to fetch",
        };
        let (count, bytes, folder) = (files.len(), HumanBytes(self.bytes), folder.display());
        let files_word = if count == 1 { "file" } else { "files" };
        write!(formatter, "{did:<8}  {kind} {name}: {count} {files_word}, {bytes}, in {folder}")?;
        write!(formatter, "\n          {repo} at {commit}")?;
        if self.outcome == FetchOutcome::Fetched {
            write!(formatter, ", {} over the network", HumanBytes(self.received))?;
        }
        if self.outcome == FetchOutcome::WouldFetch {
            for FileSummary { name, bytes, .. } in files {
                let bytes = bytes.map_or_else(|| "size unknown".to_owned(), |bytes| HumanBytes(bytes).to_string());
                write!(formatter, "\n          {name} ({bytes})")?;
            }
        }
        Ok(())
    }
}
