//! The files of an SAE in a repository of the Hub.

use std::collections::BTreeSet;
use std::path::Path;

use hayloft_runtime::words::did_you_mean;

use super::{ConfigFile, FORMATS, Folder, SaeFormat, WeightFiles, choose};
use crate::error::SaeError;

/// The files that the reader of an SAE opens, by their names in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedFiles {
    /// The weights, and the configuration if the format has one.
    pub required: Vec<String>,
    /// A configuration that is read where there is one.
    pub optional: Vec<String>,
}

/// Limit on the SAEs named in a message.
const SHOWN: usize = 8;

/// Returns the files of the SAE that is published at `path`, its folder (`""` for the root) or its one file, in a
/// repository with the files `names`. Without `format`, the format is detected from the names.
///
/// # Errors
/// An error if there is no SAE at this path, or more than one.
pub fn published_files(path: &str, names: &[&str], format: Option<SaeFormat>) -> Result<PublishedFiles, SaeError> {
    let shares_folder = format.is_some_and(|format| matches!(format.0.weights, WeightFiles::Several(_)));
    let (folder, file) = match path.rsplit_once('/') {
        _ if !names.contains(&path) && !shares_folder => (path, None),
        Some((folder, file)) => (folder, Some(file)),
        None => ("", Some(path)),
    };
    let folder = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let in_folder = Folder::Published(&folder, names);
    let (format, weights) = choose(&in_folder, file, Path::new(path), format)
        .map_err(|error| if names.is_empty() { error } else { not_published(path, names, error) })?;
    let in_repository = |name: &str| format!("{folder}{name}");
    let mut files = PublishedFiles { required: vec![in_repository(&weights)], optional: Vec::new() };
    match format.0.config {
        ConfigFile::Optional(config) => files.optional.push(in_repository(config)),
        config => files.required.extend(config.name(&in_folder, &weights).map(|config| in_repository(&config))),
    }
    Ok(files)
}

/// Says what there is in place of an SAE: nothing of this name, or several SAEs. Other errors stay as they are.
fn not_published(path: &str, names: &[&str], error: SaeError) -> SaeError {
    if !matches!(error, SaeError::NoFormat { .. } | SaeError::SeveralInFolder { .. }) {
        return error;
    }
    let place = if path.is_empty() { "the root of the repository" } else { path }.to_owned();
    let below = if path.is_empty() { String::new() } else { format!("{path}/") };
    let inner: Vec<&str> = names.iter().copied().filter(|name| name.starts_with(&below)).collect();
    let folders: BTreeSet<&str> = inner.iter().filter_map(|name| Some(name.rsplit_once('/')?.0)).collect();
    if inner.is_empty() {
        let all = names.iter().filter_map(|name| Some(name.rsplit_once('/')?.0)).chain(names.iter().copied());
        let near = did_you_mean(path, all.collect::<BTreeSet<_>>());
        return SaeError::NotPublished { path: place, got: format!("no such folder or file in the repository{near}") };
    }
    let mut saes = Vec::new();
    for folder in folders {
        let (prefix, is_root) = (format!("{folder}/"), folder.is_empty());
        let in_folder = Folder::Published(if is_root { "" } else { &prefix }, &inner);
        let Some(format) = FORMATS.iter().find(|format| format.fits(&in_folder)) else { continue };
        match format.weights {
            WeightFiles::Named { .. } => saes.push(folder.to_owned()),
            WeightFiles::Several(_) => {
                saes.extend(format.weights.in_folder(&in_folder).iter().map(|name| format!("{prefix}{name}")));
            }
        }
    }
    if saes.is_empty() {
        return error;
    }
    let shown = saes.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if saes.len() > SHOWN { format!(" and {} more", saes.len() - SHOWN) } else { String::new() };
    SaeError::NotPublished {
        path: place,
        got: format!("{} SAEs below it: {shown}{more}. Name one of them", saes.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Registered, find, releases};

    fn files(path: &str, names: &[&str], format: Option<&str>) -> Result<(Vec<String>, Vec<String>), String> {
        let format = format.map(|name| name.parse().unwrap());
        let files = published_files(path, names, format).map_err(|error| error.to_string())?;
        Ok((files.required, files.optional))
    }

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_format_is_detected_from_the_names() {
        let names = [
            "README.md",
            "layer_20/w/params.npz",
            "layer_20/w/more.png",
            "b/cfg.json",
            "b/sae_weights.safetensors",
            "b/sparsity.safetensors",
            "l0/hyperparams.json",
            "l0/checkpoints/final.safetensors",
            "l0/checkpoints/old.pt",
            "layer0.sae.pt",
            "config.json",
            "a_L0.pt",
            "a_L0_cfg.json",
            "t/ae.pt",
            "t/config.json",
        ];
        let required = |path: &str| files(path, &names, None).unwrap();
        assert_eq!(required("layer_20/w"), (owned(&["layer_20/w/params.npz"]), vec![]));
        assert_eq!(required("layer_20/w/params.npz"), (owned(&["layer_20/w/params.npz"]), vec![]));
        assert_eq!(required("b"), (owned(&["b/sae_weights.safetensors", "b/cfg.json"]), vec![]));
        assert_eq!(required("l0"), (owned(&["l0/checkpoints/final.safetensors", "l0/hyperparams.json"]), vec![]));
        assert_eq!(required("layer0.sae.pt"), (owned(&["layer0.sae.pt"]), owned(&["config.json"])));
        assert_eq!(required("a_L0.pt"), (owned(&["a_L0.pt", "a_L0_cfg.json"]), vec![]));
        assert_eq!(required("t"), (owned(&["t/ae.pt"]), owned(&["t/config.json"])));
    }

    #[test]
    fn a_registered_sae_is_found_without_a_listing() {
        for release in releases().iter().filter(|release| release.format.is_some()) {
            let Some(sae) = release.saes.first() else { continue };
            let (required, optional) = files(sae.path, &[], release.format).unwrap();
            assert!(!required.is_empty() && required.iter().chain(&optional).all(|file| !file.contains('*')));
        }
        let Registered { sae, release } = find("gpt2-small-hook-z-kk/blocks.0.hook_z").unwrap();
        let (required, _) = files(sae.path, &[], release.format).unwrap();
        assert!(required[0].ends_with("_v9.pt") && required[1].ends_with("_v9_cfg.json"), "{required:?}");
    }

    #[test]
    fn a_path_without_an_sae_or_with_several_is_told() {
        let names = ["layer_1/a/params.npz", "layer_1/b/params.npz", "layer_2/a/params.npz", "README.md"];
        let message = |path: &str| files(path, &names, None).unwrap_err();
        assert!(message("layer_1").contains("2 SAEs below it: layer_1/a, layer_1/b"), "{}", message("layer_1"));
        assert!(message("").contains("3 SAEs below it"));
        assert!(message("layer_1/c").contains("Did you mean layer_1/"), "{}", message("layer_1/c"));
        assert!(message("README.md").contains("expected"));
    }
}
