//! Files of a repository: found in the cache, or else fetched into it.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use hayloft_runtime::Progress;
use indicatif::HumanBytes;

use crate::cache::CachedRepo;
use crate::client::Hub;
use crate::digest::Expected;
use crate::error::{HubError, Lacking};
use crate::identifiers::{Commit, FileName};
use crate::listing::Listing;
use crate::repository::Repository;
use crate::settings::{HubSettings, NetworkAccess};

/// Files of a repository at one commit, on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The folder: `snapshots/COMMIT` of the cache.
    pub folder: PathBuf,
    /// The commit.
    pub commit: Commit,
}

/// The files that are wanted of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Files without which the others are of no use.
    pub required: Vec<FileName>,
    /// Files that are wanted where the repository has them.
    pub optional: Vec<FileName>,
}

/// What is known of a repository's files.
#[derive(Debug)]
pub struct View<'own> {
    /// The names: all of the commit's, or those in the cache.
    pub names: &'own [FileName],
    snapshot: &'own Path,
}

/// Says which files are wanted of a repository. It is asked again when they have come, as one may name others.
pub type Choice<'own> = dyn Fn(&View<'_>) -> Result<Wanted, Lacking> + 'own;

/// Size limit of a file that names others.
const LARGEST_INDEX: u64 = 64 << 20;

impl View<'_> {
    /// Returns whether the repository has a file.
    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known.as_str() == name)
    }

    /// Reads a small file that names others; `None` if it has not come yet.
    pub fn read(&self, name: &FileName) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(name.within(self.snapshot)).ok()?.take(LARGEST_INDEX).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }
}

/// What the cache has of the wanted files.
enum InCache {
    /// All.
    Whole(Snapshot),
    /// All that are required. Whether the repository has these others is not known.
    Required(Snapshot, Vec<FileName>),
    /// Not all that are required: those that are missing, and those that are there.
    Partly { missing: String, there: String },
}

/// Finds files of a repository in the cache, without a request; fetches those that are missing into it.
///
/// A branch or tag is the commit that the cache has of it, as long as all files of that commit are there.
pub fn find_files(
    repository: &Repository,
    choice: &Choice<'_>,
    settings: &HubSettings,
    progress: Progress,
) -> Result<Snapshot, HubError> {
    let cache = CachedRepo::of(repository, &settings.cache);
    let in_cache = look(repository, choice, &cache);
    if let InCache::Whole(snapshot) = in_cache {
        tracing::info!("{repository}: commit {} is in the cache", snapshot.commit);
        return Ok(snapshot);
    }
    if let NetworkAccess::Offline { said_by } = settings.network {
        return match in_cache {
            InCache::Whole(snapshot) => Ok(snapshot),
            InCache::Required(snapshot, unknown) => {
                warn_of_unknown(repository, &unknown, said_by);
                Ok(snapshot)
            }
            InCache::Partly { missing, there } => Err(HubError::Offline {
                repository: format!("{repository} on {}", settings.endpoint.address),
                files: missing,
                got: format!("{there} in {}", settings.cache.display()),
                said_by,
            }),
        };
    }
    match (fetch(repository, choice, &cache, settings, progress), in_cache) {
        (
            Err(error @ (HubError::Unreachable { .. } | HubError::Status { .. })),
            InCache::Required(snapshot, unknown),
        ) => {
            warn_of_unknown(repository, &unknown, &error.in_short());
            Ok(snapshot)
        }
        (done, _) => done,
    }
}

fn warn_of_unknown(repository: &Repository, unknown: &[FileName], because: &str) {
    tracing::warn!("{repository}: {} not in the cache, and not asked for: {because}", list(unknown));
}

/// Looks for the wanted files in the cache.
fn look(repository: &Repository, choice: &Choice<'_>, cache: &CachedRepo) -> InCache {
    let listing = cache.listing(&repository.revision);
    let names: Vec<FileName> = listing
        .iter()
        .flat_map(|listing| &listing.files)
        .filter_map(|file| file.checked_name(repository).ok())
        .collect();
    let there = list(&names);
    let commit = listing.map(|listing| listing.commit);
    let snapshot = commit.as_ref().map(|commit| cache.snapshot(commit)).unwrap_or_default();
    let wanted = match choice(&View { names: &names, snapshot: &snapshot }) {
        Ok(wanted) => wanted,
        Err(Lacking { expected, .. }) => return InCache::Partly { missing: expected, there },
    };
    let is_missing = |name: &&FileName| !names.contains(name);
    let missing: Vec<FileName> = wanted.required.iter().filter(is_missing).cloned().collect();
    let Some(commit) = commit.filter(|_| missing.is_empty()) else {
        return InCache::Partly { missing: list(&missing), there };
    };
    let is_unknown = |name: &FileName| !names.contains(name) && !cache.is_absent(&commit, name);
    let unknown: Vec<FileName> = wanted.optional.into_iter().filter(is_unknown).collect();
    let found = Snapshot { folder: snapshot, commit };
    if unknown.is_empty() { InCache::Whole(found) } else { InCache::Required(found, unknown) }
}

/// Fetches the wanted files that are missing.
fn fetch(
    repository: &Repository,
    choice: &Choice<'_>,
    cache: &CachedRepo,
    settings: &HubSettings,
    progress: Progress,
) -> Result<Snapshot, HubError> {
    let hub = Hub::new(settings)?;
    let listing = hub.listing(repository)?;
    let commit = listing.commit.clone();
    let names = listing.files.iter().map(|file| file.checked_name(repository)).collect::<Result<Vec<_>, _>>()?;
    let snapshot = cache.snapshot(&commit);
    if let Some(before) = cache.commit(&repository.revision).filter(|before| *before != commit) {
        tracing::info!("{repository}: moved from commit {before} to {commit}");
    }
    loop {
        let lacks = |lacking: Lacking| HubError::Lacks { repository: repository.to_string(), lacking };
        let wanted = choice(&View { names: &names, snapshot: &snapshot }).map_err(lacks)?;
        if let Some(absent) = wanted.required.iter().find(|name| !names.contains(name)) {
            let (expected, got) = (absent.to_string(), list(&names));
            return Err(lacks(Lacking { expected, got, advice: "Another revision may have it".to_owned() }));
        }
        let all = wanted.required.iter().chain(wanted.optional.iter().filter(|name| names.contains(name)));
        let missing: Vec<(&FileName, &Expected)> =
            all.filter_map(|name| missing(cache, &listing, &names, name)).collect();
        if missing.is_empty() {
            for name in wanted.optional.iter().filter(|name| !names.contains(name)) {
                cache.mark_absent(&commit, name);
            }
            cache.set_reference(&repository.revision, &commit)?;
            return Ok(Snapshot { folder: snapshot, commit });
        }
        let bytes = missing.iter().filter_map(|(_, expected)| expected.bytes).sum();
        let known = missing.iter().all(|(_, expected)| expected.bytes.is_some());
        let (count, into) = (missing.len(), settings.cache.display());
        let files = if count == 1 { "file" } else { "files" };
        tracing::info!("{repository}: fetching {count} {files}, {}, of commit {commit} into {into}", HumanBytes(bytes));
        let gauge = progress.bytes("fetching", known.then_some(bytes));
        for file in missing {
            cache.add(&hub, repository, &commit, file, &gauge)?;
        }
    }
}

/// Returns a listed file if the cache lacks it.
fn missing<'own>(
    cache: &CachedRepo,
    listing: &'own Listing,
    names: &'own [FileName],
    name: &FileName,
) -> Option<(&'own FileName, &'own Expected)> {
    let place = names.iter().position(|known| known == name)?;
    let expected = &listing.files.get(place)?.expected;
    let size = cache.file(&listing.commit, name).and_then(|file| Some(file.metadata().ok()?.len()));
    let is_there = size.is_some_and(|size| expected.bytes.is_none_or(|bytes| bytes == size));
    (!is_there).then_some((&names[place], expected))
}

/// Limit on the files named in a message.
const SHOWN: usize = 12;

/// Names files, for messages.
pub(crate) fn list(names: &[FileName]) -> String {
    if names.is_empty() {
        return "nothing".to_owned();
    }
    let shown: Vec<&str> = names.iter().take(SHOWN).map(FileName::as_str).collect();
    let more = names.len().saturating_sub(SHOWN);
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}
