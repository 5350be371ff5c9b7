//! Models, datasets and SAEs from the Hugging Face Hub, as plain folders.
//!
//! ```text
//! fetch manifest ─► entries ─► listing at one commit ─► files wanted ─► here already? ─► download ─► hashes ─► OUT/NAME/
//!                                                                                          ▲   │
//!                                                                                          └───┘ resumed, retried
//! ```
//!
//! An entry's folder is whole or not there. What a server says is not trusted: names that leave the folder are refused,
//! hashes are compared, weights that are a pickle are never fetched, and the token goes to the Hub's own origin only.

mod answer;
mod described;
mod digest;
mod entry;
mod error;
mod failure;
mod hub;
mod hub_cache;
mod hub_settings;
mod kind;
mod listing;
mod manifest;
mod names;
mod obtain;
mod patterns;
mod record;
mod staging;
mod summary;
mod transfer;

use std::fs;
use std::path::PathBuf;

use hayloft_runtime::Progress;

pub use entry::FetchEntry;
pub use error::FetchError;
pub use hub_settings::{Endpoint, HubSettings, Patience, Reach, Token};
pub use kind::EntryKind;
pub use manifest::FetchManifest;
pub use names::{Commit, EntryName, FileName, RepoId, Revision};
pub use patterns::FilePattern;
pub use record::{Asked, Fetched, FetchedFile};
pub use summary::{EntrySummary, FetchOutcome, FetchSummary, FileSummary};

/// What to fetch, and where to.
#[derive(Debug, Clone)]
pub struct FetchSettings {
    /// The fetch manifest.
    pub manifest: PathBuf,
    /// The folder in which each entry gets one.
    pub out: PathBuf,
    /// The entries wanted; all of them where none is named.
    pub names: Vec<String>,
    /// Whether to do it.
    pub mode: FetchMode,
    /// How the Hub is reached.
    pub hub: HubSettings,
}

/// Whether to fetch, or to say what would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchMode {
    /// Fetch.
    Fetch,
    /// Ask the Hub, and say what would be fetched.
    DryRun,
}

/// Fetches what a manifest names into a folder for each entry. What is there is left as it is, without a request.
pub fn fetch(settings: &FetchSettings, progress: Progress) -> Result<FetchSummary, FetchError> {
    let manifest = FetchManifest::open(&settings.manifest)?;
    let entries = manifest.select(&settings.names)?;
    let hub = hub::Hub::new(&settings.hub)?;
    if settings.mode == FetchMode::Fetch {
        fs::create_dir_all(&settings.out).map_err(|cause| FetchError::io(&settings.out, "create", cause))?;
    }
    let entries = entries.into_iter().map(|entry| obtain::obtain(entry, &hub, settings, progress));
    Ok(FetchSummary { entries: entries.collect::<Result<_, _>>()? })
}
