//! What people and programs say that latents mean.

mod files;
mod folder;
mod rows;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::BrowserError;
use crate::sources::Sources;
use rows::Row;

/// Limit on a file of explanations, in bytes.
const MOST_BYTES: u64 = 512 << 20;

/// An explanation of a latent.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Explanation {
    /// The explanation.
    pub text: String,
    /// The person, the model or the method that it is from.
    pub author: Option<String>,
    /// How well it predicts the activations, on its author's scale.
    pub score: Option<f64>,
}

/// Explanations of a page's latents.
#[derive(Debug)]
pub struct Explanations {
    /// By SAE, then by latent.
    of: Vec<BTreeMap<u32, Vec<Explanation>>>,
}

impl Explanations {
    /// None yet.
    pub fn new(sources: &Sources) -> Self {
        Self { of: vec![BTreeMap::new(); sources.saes().len()] }
    }

    /// Adds those of a file, or of a folder that delphi wrote: `PATH`, or `SAE=PATH` where they name no SAE.
    pub fn read(&mut self, sources: &Sources, argument: &str) -> Result<(), BrowserError> {
        let named = sources.split_name(argument).filter(|_| !Path::new(argument).exists());
        let (default, path) = match named {
            Some((sae, path)) => (Some(sae), PathBuf::from(path)),
            None => (Some(0).filter(|_| sources.saes().len() == 1), PathBuf::from(argument)),
        };
        let mut add = |place: &str, row: Row| self.add(sources, default, &path, place, row);
        if path.is_dir() { folder::read(&path, &mut add) } else { files::read(&path, &mut add) }
    }

    /// The explanations of a latent.
    pub(crate) fn of(&self, sae: usize, latent: u32) -> &[Explanation] {
        self.of.get(sae).and_then(|own| own.get(&latent)).map_or(&[], Vec::as_slice)
    }

    /// The number of explanations of an SAE.
    pub(crate) fn count(&self, sae: usize) -> usize {
        self.of.get(sae).map_or(0, |own| own.values().map(Vec::len).sum())
    }

    fn add(
        &mut self,
        sources: &Sources,
        default: Option<usize>,
        path: &Path,
        place: &str,
        row: Row,
    ) -> Result<(), BrowserError> {
        let wrong = |expected: &str, got: String| wrong(path, place, expected, got);
        let sae = match (&row.sae, default) {
            (Some(name), _) => sources.place_of(name).ok_or_else(|| {
                wrong(
                    &format!("an SAE of the page: {}", sources.names()),
                    format!("{name}{}", sources.suggestion(name)),
                )
            })?,
            (None, Some(sae)) => sae,
            (None, None) => {
                let expected = format!("`sae`, one of {}; or --explanations SAE={}", sources.names(), path.display());
                return Err(wrong(&expected, "none".to_owned()));
            }
        };
        let own = &sources.saes()[sae];
        if row.latent >= u64::from(own.width) {
            let expected = format!("a latent of {}, which has {}, numbered from 0", own.name, own.width);
            return Err(wrong(&expected, row.latent.to_string()));
        }
        let Row { latent, text, author, score, .. } = row;
        if text.trim().is_empty() {
            return Err(wrong("an explanation", "an empty one".to_owned()));
        }
        if let Some(score) = score.filter(|score| !score.is_finite()) {
            return Err(wrong("a finite `score`", score.to_string()));
        }
        let explanations = self.of[sae].entry(latent as u32).or_default();
        if explanations.iter().any(|other| other.author == author) {
            let by = author.map_or_else(|| "without author".to_owned(), |author| format!("by {author}"));
            return Err(wrong("one explanation of each latent by each author", format!("another of {latent} {by}")));
        }
        explanations.push(Explanation { text, author, score });
        Ok(())
    }
}

fn wrong(path: &Path, place: &str, expected: &str, got: String) -> BrowserError {
    BrowserError::Explanation { path: path.to_path_buf(), place: place.to_owned(), expected: expected.to_owned(), got }
}

/// The bytes of a file, if they are not too many.
fn bytes_of(path: &Path) -> Result<Vec<u8>, BrowserError> {
    let unread = |cause| BrowserError::Read { path: path.to_path_buf(), cause };
    let length = path.metadata().map_err(unread)?.len();
    if length > MOST_BYTES {
        let expected = format!("explanations of at most {MOST_BYTES} bytes");
        return Err(BrowserError::Misfit { path: path.to_path_buf(), expected, got: length.to_string() });
    }
    std::fs::read(path).map_err(unread)
}

#[cfg(test)]
mod tests;
