//! Explanations as delphi writes them: a folder of files `MODULE_latentN.txt`, each a string of JSON.

use std::path::Path;

use super::rows::Row;
use super::{bytes_of, wrong};
use crate::error::BrowserError;

/// The author of explanations that name none.
const AUTHOR: &str = "delphi";

pub(super) fn read(
    folder: &Path,
    add: &mut dyn FnMut(&str, Row) -> Result<(), BrowserError>,
) -> Result<(), BrowserError> {
    let unread = |cause| BrowserError::Read { path: folder.to_path_buf(), cause };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unread)? {
        names.push(entry.map_err(unread)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let mut first: Option<&str> = None;
    for name in &names {
        let expected = "files MODULE_latentN.txt, as delphi writes explanations";
        let parsed = name.strip_suffix(".txt").and_then(|stem| stem.rsplit_once("_latent"));
        let parsed = parsed.and_then(|(module, latent)| Some((module, latent.parse::<u64>().ok()?)));
        let Some((module, latent)) = parsed else {
            return Err(wrong(folder, name, expected, "another name".to_owned()));
        };
        if *first.get_or_insert(module) != module {
            let expected = format!("explanations of one module, here {}", first.unwrap_or_default());
            return Err(wrong(folder, name, &expected, module.to_owned()));
        }
        let path = folder.join(name);
        let text: String = serde_json::from_slice(&bytes_of(&path)?)
            .map_err(|error| wrong(&path, &format!("line {}", error.line()), "a string of JSON", error.to_string()))?;
        add(name, Row { sae: None, latent, text, author: Some(AUTHOR.to_owned()), score: None })?;
    }
    if names.is_empty() {
        return Err(wrong(folder, "files", "explanations of delphi", "an empty folder".to_owned()));
    }
    Ok(())
}
