//! Finds the files of parts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hayloft_runtime::Part;

use super::error::PartialError;
use super::file;
use super::sealed::SealedFormat;

/// End of the file names.
const SUFFIX: &str = ".safetensors";

/// The format of files of `evaluate latents --part`.
pub(crate) const LATENTS_FORMAT: SealedFormat = SealedFormat { key: "hayloft_partial_latents", version: "1" };

/// What parts are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartKind {
    /// Of an evaluation: `part-I-of-N.safetensors`.
    Results,
    /// Of statistics of latents: `latents-part-I-of-N.safetensors`.
    Latents,
}

impl PartKind {
    /// Every kind.
    const ALL: [Self; 2] = [Self::Results, Self::Latents];

    /// Beginning of the file names.
    fn prefix(self) -> &'static str {
        match self {
            Self::Results => "part-",
            Self::Latents => "latents-part-",
        }
    }

    /// As it is called in messages.
    fn in_words(self) -> &'static str {
        match self {
            Self::Results => "`evaluate run --part`",
            Self::Latents => "`evaluate latents --part`",
        }
    }

    fn refuse(self, path: &Path, got: Self) -> PartialError {
        PartialError::OtherKind { path: path.to_path_buf(), expected: self.in_words(), got: got.in_words() }
    }

    fn format(self) -> SealedFormat {
        match self {
            Self::Results => file::FORMAT,
            Self::Latents => LATENTS_FORMAT,
        }
    }

    /// The kind of a file, by its metadata.
    fn of(path: &Path) -> Result<Self, PartialError> {
        for kind in Self::ALL {
            if kind.format().is_that_of(path)? {
                return Ok(kind);
            }
        }
        Err(PartialError::Damaged { path: path.to_path_buf(), got: "a file of another kind".to_owned() })
    }
}

/// Name of the file of a part.
pub(crate) fn file_name(kind: PartKind, part: Part) -> String {
    format!("{}{}-of-{}{SUFFIX}", kind.prefix(), part.index(), part.of())
}

/// The given files and those in the given folders, without duplicates, and what they are parts of. There is at least one, and
/// all are of one kind.
pub fn find_parts(paths: &[PathBuf]) -> Result<(PartKind, Vec<PathBuf>), PartialError> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let inner = in_folder(path)?;
            if inner.is_empty() {
                return Err(PartialError::None { path: path.clone() });
            }
            files.extend(inner);
        } else {
            files.push(path.clone());
        }
    }
    let mut seen = BTreeSet::new();
    files.retain(|path| seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())));
    let Some(first) = files.first() else {
        return Err(PartialError::None { path: paths.first().cloned().unwrap_or_default() });
    };
    let kind = PartKind::of(first)?;
    for path in &files {
        let got = PartKind::of(path)?;
        if got != kind {
            return Err(kind.refuse(path, got));
        }
    }
    Ok((kind, files))
}

/// The same, of one kind alone.
pub(crate) fn find_parts_of(kind: PartKind, paths: &[PathBuf]) -> Result<Vec<PathBuf>, PartialError> {
    let (found, files) = find_parts(paths)?;
    match files.first() {
        Some(first) if found != kind => Err(kind.refuse(first, found)),
        _ => Ok(files),
    }
}

fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, PartialError> {
    let read = |cause| PartialError::Read { path: folder.to_path_buf(), cause };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if PartKind::ALL.iter().any(|kind| name.starts_with(kind.prefix())) && name.ends_with(SUFFIX) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
