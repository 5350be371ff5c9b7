//! The files of a repository, and selecting from them.

use super::digest::{Expected, another_version};
use super::identifiers::{Commit, FileName};
use super::{FetchEntry, FetchError, FilePattern};

/// A repository at one commit.
#[derive(Debug)]
pub(super) struct Listing {
    pub commit: Commit,
    pub files: Vec<ListedFile>,
}

/// A file of a repository.
#[derive(Debug)]
pub(super) struct ListedFile {
    /// The name as the server gives it; untrusted.
    pub name: String,
    pub expected: Expected,
}

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

impl Listing {
    /// Returns the files to fetch, by name. Returns an error before any download if a name in the repository would
    /// leave the folder, a pattern matches nothing, or a hash cannot match.
    pub(super) fn select(&self, entry: &FetchEntry) -> Result<Vec<WantedFile>, FetchError> {
        let patterns = entry.patterns();
        let mut wanted = Vec::new();
        for ListedFile { name, expected } in &self.files {
            let remote = FileName::try_from(name.clone())
                .map_err(|problem| FetchError::HostileName { repo: entry.repo.to_string(), problem })?;
            let Some(local) = remote.seen_from(entry.folder.as_ref()) else { continue };
            let is_wanted = patterns.iter().any(|pattern| pattern.matches(local.as_str()));
            if is_wanted && local.as_str() != super::record::RECORD && !entry.kind.never_takes(name) {
                let manifest = entry.sha256.get(local.as_str()).cloned();
                let expected = Expected { manifest, ..expected.clone() };
                if let (Some(manifest), Some(large)) = (&expected.manifest, &expected.large)
                    && manifest != large
                {
                    return Err(another_version(&entry.file(&remote), manifest, large));
                }
                wanted.push(WantedFile { remote, local, expected });
            }
        }
        wanted.sort_by(|one, other| one.local.cmp(&other.local));
        wanted.dedup_by(|one, other| one.local == other.local);
        self.check(entry, &wanted)?;
        Ok(wanted)
    }

    fn check(&self, entry: &FetchEntry, wanted: &[WantedFile]) -> Result<(), FetchError> {
        let required = entry.required_patterns();
        let absent = |pattern: &FilePattern| !wanted.iter().any(|file| pattern.matches(file.local.as_str()));
        let unnamed = |name: &String| !wanted.iter().any(|file| file.local.as_str() == *name);
        let (wanted, advice) = if let Some(pattern) = required.iter().find(|pattern| absent(pattern)) {
            let pickled = self.files.iter().any(|file| entry.kind.never_takes(&file.name));
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
        let mut names: Vec<_> = self.files.iter().take(SHOWN).map(|file| format!("{:?}", file.name)).collect();
        if self.files.len() > SHOWN {
            names.push(format!("and {} more", self.files.len() - SHOWN));
        }
        let got = if names.is_empty() { "no files".to_owned() } else { names.join(", ") };
        let repo = format!("{} at {}", entry.repo, self.commit);
        Err(FetchError::NothingMatches { repo, wanted, got, advice })
    }
}
