//! The fetch manifest: a TOML file that names models, datasets and SAEs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use hayloft_hub::{FileName, RepoId, Revision, Sha256};
use hayloft_runtime::words::with_suggestion;
use serde::Deserialize;

use super::{EntryKind, EntryName, FetchEntry, FetchError, FilePattern};

/// A fetch manifest. `data-manifests/README.md` describes the keys.
#[derive(Debug, Clone)]
pub struct FetchManifest {
    /// The manifest's path, for messages.
    pub path: PathBuf,
    /// The entries: models, then datasets, then SAEs.
    pub entries: Vec<FetchEntry>,
}

/// The TOML as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    models: Vec<WrittenEntry>,
    #[serde(default)]
    datasets: Vec<WrittenEntry>,
    #[serde(default)]
    saes: Vec<WrittenEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEntry {
    name: EntryName,
    repo: RepoId,
    revision: Option<Revision>,
    folder: Option<FileName>,
    #[serde(default)]
    files: Vec<FilePattern>,
    #[serde(default)]
    sha256: BTreeMap<String, Sha256>,
}

impl FetchManifest {
    /// Reads a fetch manifest.
    pub fn open(path: &Path) -> Result<Self, FetchError> {
        let text = std::fs::read_to_string(path).map_err(|cause| FetchError::Io {
            path: path.to_owned(),
            action: "read",
            cause,
            advice: "harvest fetch takes the path of a fetch manifest, such as data-manifests/study/fetch.toml",
        })?;
        let manifest = |problem: String| FetchError::Manifest { path: path.to_owned(), problem };
        let written: Written = toml::from_str(&text).map_err(|error| manifest(with_suggestion(&error.to_string())))?;
        let kinds = [
            (EntryKind::Model, written.models),
            (EntryKind::Dataset, written.datasets),
            (EntryKind::Sae, written.saes),
        ];
        let entries: Vec<FetchEntry> =
            kinds.into_iter().flat_map(|(kind, all)| all.into_iter().map(move |one| one.resolve(kind))).collect();
        if entries.is_empty() {
            return Err(manifest(
                "expected at least one [[models]], [[datasets]] or [[saes]] table, got none".to_owned(),
            ));
        }
        let mut names = BTreeSet::new();
        for FetchEntry { name, kind, files, .. } in &entries {
            if !names.insert(name) {
                return Err(manifest(format!("expected names that differ, got {name} twice: each is a folder")));
            }
            if files.is_empty() && kind.default_files().is_empty() {
                let example = "files = [\"data/train-*.parquet\"]";
                return Err(manifest(format!("{kind} {name}: expected the files that are wanted, such as {example}")));
            }
        }
        Ok(Self { path: path.to_owned(), entries })
    }

    /// Returns the entries with these names, or all entries if `names` is empty.
    pub fn select(&self, names: &[String]) -> Result<Vec<&FetchEntry>, FetchError> {
        if let Some(name) = names.iter().find(|name| !self.entries.iter().any(|entry| entry.name.as_str() == **name)) {
            let known: Vec<_> = self.entries.iter().map(|entry| entry.name.as_str()).collect();
            return Err(FetchError::UnknownName {
                path: self.path.clone(),
                name: name.clone(),
                known: known.join(", "),
            });
        }
        let wanted = |entry: &&FetchEntry| names.is_empty() || names.iter().any(|name| name == entry.name.as_str());
        Ok(self.entries.iter().filter(wanted).collect())
    }
}

impl WrittenEntry {
    fn resolve(self, kind: EntryKind) -> FetchEntry {
        let Self { name, repo, revision, folder, files, sha256 } = self;
        FetchEntry { name, kind, repo, revision: revision.unwrap_or_else(Revision::main), folder, files, sha256 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<FetchManifest, FetchError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fetch.toml");
        std::fs::write(&path, text).unwrap();
        FetchManifest::open(&path)
    }

    #[test]
    fn every_key_is_read() {
        let hash = "AB".repeat(32);
        let manifest = read(&format!(
            "[[models]]\nname = \"m\"\nrepo = \"o/m\"\n\
             [[saes]]\nname = \"s\"\nrepo = \"o/s\"\nrevision = \"v1\"\nfolder = \"a/b\"\n\
             [[datasets]]\nname = \"d\"\nrepo = \"d\"\nfiles = [\"*.parquet\"]\nsha256 = {{ \"a.parquet\" = \"{hash}\" }}\n"
        ))
        .unwrap();
        let kinds: Vec<_> = manifest.entries.iter().map(|entry| (entry.name.as_str(), entry.kind)).collect();
        assert_eq!(kinds, [("m", EntryKind::Model), ("d", EntryKind::Dataset), ("s", EntryKind::Sae)]);
        assert_eq!(manifest.entries[0].revision.as_str(), "main");
        assert_eq!(manifest.entries[1].sha256["a.parquet"].to_string(), hash.to_ascii_lowercase());
        assert_eq!(manifest.entries[2].folder.as_ref().unwrap().as_str(), "a/b");
        let names = ["s".to_owned(), "m".to_owned()];
        assert_eq!(manifest.select(&names).unwrap().len(), 2);
        assert_eq!(manifest.select(&[]).unwrap().len(), 3);
    }

    #[test]
    fn invalid_values_are_refused_by_key() {
        let model = "[[models]]\nname = \"m\"\nrepo = \"o/m\"\n";
        for (text, words) in [
            (String::new(), "at least one [[models]]"),
            (format!("{model}{model}"), "got m twice"),
            (format!("{model}branch = \"x\"\n"), "unknown field `branch`"),
            (model.replace("o/m", "https://h/m"), "expected a repository of the Hub"),
            (model.replace("\"m\"\nr", "\"../m\"\nr"), "expected a name of letters"),
            (format!("{model}revision = \"../x\"\n"), "expected a commit of 40"),
            (format!("{model}folder = \"../x\"\n"), "expected a relative path"),
            (format!("{model}sha256 = {{ \"config.json\" = \"12\" }}\n"), "64 hexadecimal digits"),
            (model.replace("models", "datasets"), "expected the files that are wanted"),
        ] {
            let message = read(&text).unwrap_err().to_string();
            assert!(message.contains(words) && message.contains("fetch.toml"), "{message}");
        }
    }

    #[test]
    fn a_missing_manifest_is_named_with_what_a_fetch_expects() {
        let message = FetchManifest::open(Path::new("no/such.toml")).unwrap_err().to_string();
        assert!(message.contains("no/such.toml: cannot read") && message.contains("fetch manifest"), "{message}");
    }
}
