//! Fetches models, datasets and SAEs from the Hugging Face Hub into plain folders.
//!
//! ```text
//! fetch manifest ─► entries ─► listing at one commit ─► files wanted ─► here already? ─► download ─► hashes ─► OUT/NAME/
//!                                                                                          ▲   │
//!                                                                                          └───┘ resumed, retried
//! ```
//!
//! An entry's folder appears atomically, when complete. `hayloft-hub` lists and downloads: it refuses names that leave the
//! folder, compares hashes, and sends the token only to the Hub's origin. Pickled weights are never fetched.

mod entry;
mod error;
mod fetch_entry;
mod kind;
mod manifest;
mod patterns;
mod record;
mod selection;
mod staging;
mod summary;

use std::fs;
use std::path::PathBuf;

use hayloft_hub::{Hub, HubSettings};
use hayloft_runtime::Progress;

pub use entry::{EntryName, FetchEntry};
pub use error::FetchError;
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
    let hub = Hub::new(&settings.hub)?;
    if settings.mode == FetchMode::Fetch {
        fs::create_dir_all(&settings.out).map_err(|cause| FetchError::io(&settings.out, "create", cause))?;
    }
    let entries = entries.into_iter().map(|entry| fetch_entry::fetch_entry(entry, &hub, settings, progress));
    Ok(FetchSummary { entries: entries.collect::<Result<_, _>>()? })
}
