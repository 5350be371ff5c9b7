//! Selecting the files of an entry from a repository's.

use hayloft_hub::{Expected, FileName, Listing, another_version};

use super::{FetchEntry, FetchError, FilePattern};

/// A file to be fetched.
#[derive(Debug, Clone)]
pub(super) struct WantedFile {
    /// Name in the repository.
    pub remote: FileName,
    /// Name in the entry's folder.
    pub local: FileName,
    pub expected: Expected,
}

/// Limit on the files named in a message.
const SHOWN: usize = 12;

/// Returns the files to fetch, by name. Returns an error before any download if a name in the repository would leave the
/// folder, a pattern matches nothing, or a hash cannot match.
pub(super) fn select(listing: &Listing, entry: &FetchEntry) -> Result<Vec<WantedFile>, FetchError> {
    let (patterns, repository) = (entry.patterns(), entry.repository());
    let mut wanted = Vec::new();
    for listed in &listing.files {
        let (name, expected) = (&listed.name, &listed.expected);
        let remote = listed.checked_name(&repository)?;
        let Some(local) = remote.seen_from(entry.folder.as_ref()) else { continue };
        let is_wanted = patterns.iter().any(|pattern| pattern.matches(local.as_str()));
        if is_wanted && local.as_str() != super::record::RECORD && !entry.kind.never_takes(name) {
            let manifest = entry.sha256.get(local.as_str()).cloned();
            let expected = Expected { manifest, ..expected.clone() };
            if let (Some(manifest), Some(large)) = (&expected.manifest, &expected.large)
                && manifest != large
            {
                return Err(another_version(&repository.file(&remote), manifest, large).into());
            }
            wanted.push(WantedFile { remote, local, expected });
        }
    }
    wanted.sort_by(|one, other| one.local.cmp(&other.local));
    wanted.dedup_by(|one, other| one.local == other.local);
    check(listing, entry, &wanted)?;
    Ok(wanted)
}

fn check(listing: &Listing, entry: &FetchEntry, wanted: &[WantedFile]) -> Result<(), FetchError> {
    let required = entry.required_patterns();
    let absent = |pattern: &FilePattern| !wanted.iter().any(|file| pattern.matches(file.local.as_str()));
    let unnamed = |name: &String| !wanted.iter().any(|file| file.local.as_str() == *name);
    let (wanted, advice) = if let Some(pattern) = required.iter().find(|pattern| absent(pattern)) {
        let pickled = listing.files.iter().any(|file| entry.kind.never_takes(&file.name));
        let advice = if pickled {
            "Weights that are a pickle (.bin, .pt) can run any program and are never fetched: have them converted to safetensors, for example by transformers' save_pretrained"
        } else {
            "Correct files, folder or revision in the fetch manifest"
        };
        (format!("that matches {}", pattern.as_str()), advice)
    } else if let Some(name) = entry.sha256.keys().find(|name| unnamed(name)) {
        (format!("called {name}, which has a sha256"), "Correct sha256 or files in the fetch manifest")
    } else {
        return Ok(());
    };
    let mut names: Vec<_> = listing.files.iter().take(SHOWN).map(|file| format!("{:?}", file.name)).collect();
    if listing.files.len() > SHOWN {
        names.push(format!("and {} more", listing.files.len() - SHOWN));
    }
    let got = if names.is_empty() { "no files".to_owned() } else { names.join(", ") };
    let repo = format!("{} at {}", entry.repo, listing.commit);
    Err(FetchError::NothingMatches { repo, wanted, got, advice })
}
