//! Fetches models, datasets and SAEs from the Hugging Face Hub into plain folders.
//!
//! ```text
//! fetch manifest ─► entries ─► listing at one commit ─► files wanted ─► here already? ─► download ─► hashes ─► OUT/NAME/
//!                                                                                          ▲   │
//!                                                                                          └───┘ resumed, retried
//! ```
//!
//! An entry's folder appears atomically, when complete. Servers are untrusted: names that leave the folder are refused,
//! hashes are compared, pickled weights are never fetched, and the token is sent only to the Hub's origin.

mod digest;
mod entry;
mod error;
mod fetch_entry;
mod hub;
mod hub_cache;
mod hub_settings;
mod identifiers;
mod kind;
mod listing;
mod manifest;
mod patterns;
mod record;
mod repo_description;
mod request_failure;
mod response;
mod staging;
mod summary;
mod transfer;

use std::fs;
use std::path::PathBuf;

use hayloft_runtime::Progress;

pub use entry::FetchEntry;
pub use error::FetchError;
pub use hub_settings::{Endpoint, HubSettings, NetworkAccess, RetrySettings, Token};
pub use identifiers::{Commit, EntryName, FileName, RepoId, Revision};
pub use kind::EntryKind;
pub use manifest::FetchManifest;
pub use patterns::FilePattern;
pub use record::{FetchRequest, Fetched, FetchedFile};
pub use summary::{EntrySummary, FetchOutcome, FetchSummary, FileSummary};

/// Fetch settings.
#[derive(Debug, Clone)]
pub struct FetchSettings {
    /// The fetch manifest.
    pub manifest: PathBuf,
    /// The output folder, with one folder for each entry.
    pub out: PathBuf,
    /// Names of the entries to fetch; empty for all.
    pub names: Vec<String>,
    /// Whether to fetch or to do a dry run.
    pub mode: FetchMode,
    /// The Hub settings.
    pub hub: HubSettings,
}

/// Whether to fetch or to do a dry run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchMode {
    /// Fetch.
    Fetch,
    /// Query the Hub and report what would be fetched.
    DryRun,
}

/// Fetches the entries of a manifest, each into its own folder. Existing entries are kept, without a request.
pub fn fetch(settings: &FetchSettings, progress: Progress) -> Result<FetchSummary, FetchError> {
    let manifest = FetchManifest::open(&settings.manifest)?;
    let entries = manifest.select(&settings.names)?;
    let hub = hub::Hub::new(&settings.hub)?;
    if settings.mode == FetchMode::Fetch {
        fs::create_dir_all(&settings.out).map_err(|cause| FetchError::io(&settings.out, "create", cause))?;
    }
    let entries = entries.into_iter().map(|entry| fetch_entry::fetch_entry(entry, &hub, settings, progress));
    Ok(FetchSummary { entries: entries.collect::<Result<_, _>>()? })
}
