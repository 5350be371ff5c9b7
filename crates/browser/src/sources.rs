//! The files of latents that a page is made of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hayloft_latents::{EXAMPLES, LATENTS, LatentsReader, SaeRows};
use hayloft_runtime::words::did_you_mean;

use crate::error::BrowserError;

/// Folders of `latents.parquet` and `examples.parquet`, and the SAEs in them.
#[derive(Debug)]
pub struct Sources {
    pub(crate) folders: Vec<Folder>,
    saes: Vec<SaeSource>,
}

/// A folder of both files.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    pub(crate) latents: LatentsReader,
}

/// An SAE in a page.
#[derive(Debug, Clone)]
pub struct SaeSource {
    /// Its name, unique in the page: its own, after that of its folder where several SAEs are called so.
    pub name: String,
    /// Its name in the files.
    pub own_name: Arc<str>,
    /// Number of latents.
    pub width: u32,
    /// The place of its folder among the page's.
    pub(crate) folder: usize,
}

impl Folder {
    pub(crate) fn latents_path(&self) -> PathBuf {
        self.path.join(LATENTS)
    }

    pub(crate) fn examples_path(&self) -> PathBuf {
        self.path.join(EXAMPLES)
    }
}

impl Sources {
    /// Reads which SAEs the folders have.
    pub fn open(folders: &[PathBuf]) -> Result<Self, BrowserError> {
        let mut opened: Vec<Folder> = Vec::new();
        let mut real: Vec<PathBuf> = Vec::new();
        for path in folders {
            let place =
                std::fs::canonicalize(path).map_err(|cause| BrowserError::Read { path: path.clone(), cause })?;
            if let Some(first) = real.iter().position(|other| *other == place) {
                let got = format!("{} again", folders[first].display());
                return Err(BrowserError::Misfit { path: path.clone(), expected: "each folder once".to_owned(), got });
            }
            real.push(place);
            opened.push(Folder { path: path.clone(), latents: LatentsReader::open(&path.join(LATENTS))? });
        }
        let all: Vec<(usize, &SaeRows)> = opened
            .iter()
            .enumerate()
            .flat_map(|(folder, own)| own.latents.saes().iter().map(move |sae| (folder, sae)))
            .collect();
        let plain = |_: &Path, name: &str| name.to_owned();
        let by_folder = |folder: &Path, name: &str| {
            let last = folder.file_name().unwrap_or(folder.as_os_str());
            format!("{}/{name}", last.to_string_lossy())
        };
        let by_path = |folder: &Path, name: &str| format!("{}/{name}", folder.display());
        let mut names: Vec<String> = all.iter().map(|(_, sae)| sae.name.to_string()).collect();
        for longer in [plain, by_folder, by_path] as [fn(&Path, &str) -> String; 3] {
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            for name in &names {
                *counts.entry(name.clone()).or_default() += 1;
            }
            for (name, (folder, sae)) in names.iter_mut().zip(&all) {
                if counts[name] > 1 {
                    *name = longer(&real[*folder], &sae.name);
                }
            }
        }
        let saes = names.into_iter().zip(all).map(|(name, (folder, sae))| SaeSource {
            name,
            own_name: Arc::clone(&sae.name),
            width: sae.width,
            folder,
        });
        let saes = saes.collect();
        Ok(Self { folders: opened, saes })
    }

    /// The SAEs, in the page's order.
    pub fn saes(&self) -> &[SaeSource] {
        &self.saes
    }

    /// Bytes of all files, of which [`crate::Page::write`] tells how many it has read.
    pub fn bytes(&self) -> u64 {
        let paths = self.folders.iter().flat_map(|folder| [folder.latents_path(), folder.examples_path()]);
        paths.map(|path| path.metadata().map_or(0, |metadata| metadata.len())).sum()
    }

    /// The SAE of this name in the page.
    pub(crate) fn place_of(&self, name: &str) -> Option<usize> {
        self.saes.iter().position(|sae| sae.name == name)
    }

    /// The names of the SAEs, for a message about one that is none of them.
    pub(crate) fn names(&self) -> String {
        self.saes.iter().map(|sae| sae.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// `. Did you mean X?`, where a name is near.
    pub(crate) fn suggestion(&self, name: &str) -> String {
        did_you_mean(name, self.saes.iter().map(|sae| sae.name.as_str()))
    }

    /// Splits `NAME=REST` at the name of an SAE, which may have `=` in it; the longest name counts.
    pub fn split_name<'text>(&self, text: &'text str) -> Option<(usize, &'text str)> {
        let ends = text.match_indices('=').map(|(end, _)| end);
        ends.rev().find_map(|end| Some((self.place_of(&text[..end])?, &text[end + 1..])))
    }
}
