//! What can go wrong with a report.

use std::io;
use std::path::PathBuf;

/// An error of a report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Files that the experiment names are not there.
    #[error(
        "{experiment}: expected the files that it names, got none at: {missing}. Make them first, or correct the paths, which are relative to the experiment's file"
    )]
    Missing {
        /// The experiment's file.
        experiment: PathBuf,
        /// The files, by their names in it.
        missing: String,
    },
    /// A file could not be read.
    #[error("{path}: cannot read: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },
    /// A file is too large to be what it should be.
    #[error("{path}: expected {what} of at most {limit} bytes, got {bytes}")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// The most bytes.
        limit: u64,
        /// Its size.
        bytes: u64,
    },
    /// A file does not hold what it should.
    #[error("{path}: expected {expected}, got {got}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should hold, and how to make it.
        expected: &'static str,
        /// What the parser said.
        got: String,
    },
    /// The experiment names an SAE that the results do not have.
    #[error(
        "{path}: expected results of an SAE called {sae}, as the experiment's `saes` say, got results of: {available}"
    )]
    NoSuchSae {
        /// The results' file.
        path: PathBuf,
        /// The name in the experiment.
        sae: String,
        /// The names in the results.
        available: String,
    },
    /// The results have an SAE whose role is not known.
    #[error(
        "{path}: expected SAEs called base, chat or finetuned, got {sae}. Say what it is in the experiment: saes = {{ {sae:?} = \"base\" }}"
    )]
    NoRole {
        /// The results' file.
        path: PathBuf,
        /// The SAE's name.
        sae: String,
    },
    /// Two results claim the same place in the tables.
    #[error("{path}: expected each result once, got {what} a second time: it is also in {other}")]
    Twice {
        /// The file of the second.
        path: PathBuf,
        /// Which result.
        what: String,
        /// The file of the first.
        other: PathBuf,
    },
    /// Results that should be about the same thing are not.
    #[error(
        "{path}: expected {what} to be that of {other} ({expected}), got {got}. These results do not belong in one report"
    )]
    Disagreement {
        /// The file of the second.
        path: PathBuf,
        /// What should be the same.
        what: String,
        /// The file of the first.
        other: PathBuf,
        /// What the first says.
        expected: String,
        /// What the second says.
        got: String,
    },
    /// The page could not be laid out.
    #[error("the report's page cannot be laid out: a defect in hayloft, please report it: {0}")]
    Page(#[from] minijinja::Error),
    /// Something could not be written.
    #[error("{path}: cannot write: {cause}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },
}
