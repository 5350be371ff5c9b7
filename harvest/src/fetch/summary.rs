//! The summary of a fetch, as text and as JSON.

use std::fmt;
use std::path::PathBuf;

use hayloft_hub::{Commit, FileName, RepoId, Sha256};
use indicatif::HumanBytes;
use serde::Serialize;

use super::{EntryKind, EntryName, FetchedFile};

/// The results of all requested entries.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FetchSummary {
    /// One result for each entry, in manifest order.
    pub entries: Vec<EntrySummary>,
}

/// The result of one entry.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EntrySummary {
    /// The entry's name.
    pub name: EntryName,
    /// The kind of entry.
    pub kind: EntryKind,
    /// The Hub repository.
    pub repo: RepoId,
    /// The commit.
    pub commit: Commit,
    /// The outcome.
    pub outcome: FetchOutcome,
    /// The entry's folder.
    pub folder: PathBuf,
    /// Its files.
    pub files: Vec<FileSummary>,
    /// Total size of the files, as far as known.
    pub bytes: u64,
    /// Bytes received over the network.
    pub received: u64,
}

/// The outcome of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FetchOutcome {
    /// Already present.
    Present,
    /// Fetched.
    Fetched,
    /// Would be fetched.
    WouldFetch,
}

/// A file of an entry.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FileSummary {
    /// Name in the folder.
    pub name: FileName,
    /// Size in bytes, if known.
    pub bytes: Option<u64>,
    /// SHA-256, if known.
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
