//! Fetches one entry: finds local files, lists the repository, downloads the rest and commits the folder.

use std::fs;
use std::path::{Path, PathBuf};

use hayloft_hub::{CachedRepo, Commit, Hashing, Hub, Listing, NetworkAccess, download};
use hayloft_runtime::{Gauge, Progress};
use indicatif::HumanBytes;

use super::record::{Fetched, FetchedFile};
use super::selection::{WantedFile, select};
use super::staging::Staging;
use super::summary::{EntrySummary, FetchOutcome, FileSummary};
use super::{FetchEntry, FetchError, FetchMode, FetchSettings};

/// Fetches an entry unless it exists.
pub(super) fn fetch_entry(
    entry: &FetchEntry,
    hub: &Hub,
    settings: &FetchSettings,
    progress: Progress,
) -> Result<EntrySummary, FetchError> {
    let folder = settings.out.join(entry.name.as_str());
    let there = Fetched::of(&folder)?;
    if let Some(record) = there.as_ref().filter(|record| record.serves(entry, &folder)) {
        tracing::debug!("{}: nothing to do", entry.name);
        let files = record.files.iter().map(FileSummary::from).collect();
        return Ok(summary(entry, folder, record.commit.clone(), FetchOutcome::Present, files, 0));
    }
    if there.is_none() && fs::symlink_metadata(&folder).is_ok() {
        return Err(FetchError::NotFetched { path: folder });
    }
    let repository = entry.repository();
    let cached = CachedRepo::of(&repository, &settings.hub.cache);
    let listing = list(entry, hub, &cached, settings)?;
    let wanted = select(&listing, entry)?;
    let summary =
        |outcome, files, received| summary(entry, folder.clone(), listing.commit.clone(), outcome, files, received);
    if settings.mode == FetchMode::DryRun {
        let file = |file: &WantedFile| FileSummary {
            name: file.local.clone(),
            bytes: file.expected.bytes,
            sha256: file.expected.large.clone().or_else(|| file.expected.manifest.clone()),
        };
        return Ok(summary(FetchOutcome::WouldFetch, wanted.iter().map(file).collect(), 0));
    }

    let bytes = wanted.iter().filter_map(|file| file.expected.bytes).sum();
    tracing::info!("{}: {} files, {}, from {}", entry.name, wanted.len(), HumanBytes(bytes), entry.repo);
    let purpose = serde_json::json!({ "request": entry.request(), "commit": &listing.commit }).to_string();
    let staging = Staging::open(&settings.out, &entry.name, &purpose)?;
    let known = wanted.iter().all(|file| file.expected.bytes.is_some());
    let gauge = progress.bytes("fetching", known.then_some(bytes));
    let (mut files, mut received) = (Vec::new(), 0);
    for file in &wanted {
        let copies =
            LocalCopies { staging: &staging, replaced: there.as_ref().map(|record| (record, folder.as_path())) };
        let found = copies.find(entry, file, cached.file(&listing.commit, &file.remote), &gauge)?;
        let (fetched, over_network) = if let Some(fetched) = found {
            (fetched, 0)
        } else {
            let partial = staging.incomplete(&listing.commit, file)?;
            let of_file = (&file.remote, &file.expected);
            let done = download(hub, &repository, &listing.commit, of_file, &partial, &gauge)?;
            staging.finish(&partial, &file.local)?;
            (FetchedFile { name: file.local.clone(), bytes: done.bytes, sha256: done.sha256 }, done.received)
        };
        received += over_network;
        files.push(fetched);
    }
    drop(gauge);
    let record = Fetched::new(entry.request(), listing.commit.clone(), files);
    staging.commit(&record)?;
    Ok(summary(FetchOutcome::Fetched, record.files.iter().map(FileSummary::from).collect(), received))
}

/// Returns the available files: those of the Hub, or offline those of its cache on this machine.
fn list(entry: &FetchEntry, hub: &Hub, cached: &CachedRepo, settings: &FetchSettings) -> Result<Listing, FetchError> {
    match settings.hub.network {
        NetworkAccess::Online => Ok(hub.listing(&entry.repository())?),
        NetworkAccess::Offline { said_by } => cached.listing(&entry.revision).ok_or_else(|| FetchError::Offline {
            name: entry.name.to_string(),
            kind: entry.kind,
            repo: entry.repo.to_string(),
            revision: entry.revision.to_string(),
            said_by,
            cache: settings.hub.cache.clone(),
        }),
    }
}

/// Local copies that may hold a file.
struct LocalCopies<'a> {
    staging: &'a Staging,
    /// The earlier fetch under the same name, and its folder.
    replaced: Option<(&'a Fetched, &'a Path)>,
}

impl LocalCopies<'_> {
    /// Finds a local copy of a file: in an interrupted attempt, in the folder to be replaced, or in Hugging Face's
    /// cache. Its bytes are hashed before use.
    fn find(
        &self,
        entry: &FetchEntry,
        file: &WantedFile,
        cached: Option<PathBuf>,
        gauge: &Gauge,
    ) -> Result<Option<FetchedFile>, FetchError> {
        let whole = self.staging.whole(&file.local)?;
        let earlier = self.replaced.and_then(|(record, folder)| {
            let recorded = record.files.iter().find(|recorded| recorded.name == file.local)?;
            let same = file.expected.large.as_ref() == Some(&recorded.sha256);
            same.then(|| file.local.within(folder))
        });
        for place in [Some(whole.clone()), earlier, cached].into_iter().flatten() {
            let Ok(about) = fs::symlink_metadata(&place) else { continue };
            if !about.is_file() || file.expected.bytes.is_some_and(|bytes| bytes != about.len()) {
                continue;
            }
            let mut hashing = Hashing::new(&file.expected);
            hashing
                .read(&place, |bytes| gauge.advance(bytes))
                .map_err(|cause| FetchError::io(&place, "read", cause))?;
            let bytes = hashing.bytes;
            match hashing.finish(&file.expected, &entry.repository().file(&file.remote)) {
                Ok(sha256) => {
                    if place != whole {
                        self.staging.take(&place, &file.local)?;
                    }
                    return Ok(Some(FetchedFile { name: file.local.clone(), bytes, sha256 }));
                }
                Err(error) => tracing::warn!("{} is passed over: {error}", place.display()),
            }
        }
        Ok(None)
    }
}

fn summary(
    entry: &FetchEntry,
    folder: PathBuf,
    commit: Commit,
    outcome: FetchOutcome,
    files: Vec<FileSummary>,
    received: u64,
) -> EntrySummary {
    let bytes = files.iter().filter_map(|file| file.bytes).sum();
    let (name, kind, repo) = (entry.name.clone(), entry.kind, entry.repo.clone());
    EntrySummary { name, kind, repo, commit, outcome, folder, files, bytes, received }
}
