//! Errors of reports.

use std::io;
use std::path::PathBuf;

use hayloft_results::DEFINITIONS;

/// An error of a report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Files named by the experiment do not exist.
    #[error(
        "{experiment}: expected the files that it names, got none at: {missing}. Make them first, or correct the paths, which are relative to the experiment's file"
    )]
    Missing {
        /// The experiment's file.
        experiment: PathBuf,
        /// The missing files.
        missing: String,
    },
    /// A file could not be read.
    #[error("{path}: cannot read: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        cause: io::Error,
    },
    /// A file exceeds the size limit.
    #[error("{path}: expected {what} of at most {limit} bytes, got {bytes}")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The expected content.
        what: &'static str,
        /// The limit.
        limit: u64,
        /// Its size.
        bytes: u64,
    },
    /// A file could not be parsed.
    #[error("{path}: expected {expected}, got {got}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The expected content, and how to produce it.
        expected: &'static str,
        /// The parser's error.
        got: String,
    },
    /// Results are of another version.
    #[error(
        "{path}: expected results with the definitions {DEFINITIONS}, got {got}. They are of another version of hayloft: evaluate again"
    )]
    OtherVersion {
        /// The results file.
        path: PathBuf,
        /// The definitions that it names.
        got: String,
    },
    /// The experiment names an SAE that is not in the results.
    #[error(
        "{path}: expected results of an SAE called {sae}, as the experiment's `saes` say, got results of: {available}"
    )]
    NoSuchSae {
        /// The results file.
        path: PathBuf,
        /// The name in the experiment.
        sae: String,
        /// The names in the results.
        available: String,
    },
    /// The experiment names a section that is not in the results.
    #[error(
        "{path}: expected results of the section {section}, as the experiment's `sections` say, got results of: {available}"
    )]
    NoSuchSection {
        /// The results file.
        path: PathBuf,
        /// The section in the experiment.
        section: String,
        /// The sections in the results.
        available: String,
    },
    /// The role of an SAE in the study is unknown.
    #[error(
        "{path}: expected SAEs called base, chat or finetuned, got {sae}: {problem}. Say what it is in the experiment: saes = {{ \"{sae}\" = \"base\" }}; or leave `family` out, for SAEs of any names"
    )]
    NoRole {
        /// The results file.
        path: PathBuf,
        /// The SAE's name.
        sae: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Two results have the same keys.
    #[error("{path}: expected each result once, got {what} a second time: it is also in {other}")]
    Twice {
        /// The second file.
        path: PathBuf,
        /// The keys of the result.
        what: String,
        /// The first file.
        other: PathBuf,
    },
    /// Results disagree about something that they share.
    #[error(
        "{path}: expected {what} to be that of {other} ({expected}), got {got}. These results do not belong in one report, unless the experiment gives them different names"
    )]
    Disagreement {
        /// The second file.
        path: PathBuf,
        /// What should agree.
        what: String,
        /// The first file.
        other: PathBuf,
        /// The value in the first file.
        expected: String,
        /// The value in the second file.
        got: String,
    },
    /// The page's template could not be rendered.
    #[error("the report's page cannot be laid out: a defect in hayloft, please report it: {0}")]
    Page(#[from] minijinja::Error),
    /// A file could not be written.
    #[error("{path}: cannot write: {cause}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        cause: io::Error,
    },
}
