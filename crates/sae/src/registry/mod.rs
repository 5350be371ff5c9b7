//! The SAEs that SAELens's registry lists: a table of releases and their SAEs, compiled into the program. Nothing here uses a
//! network.
//!
//! `scripts/goldens/registry.py` makes `saes.tsv.zst` out of `pretrained_saes.yaml` of SAELens 6.54.12 (MIT).

use std::collections::BTreeSet;
use std::fmt;
use std::sync::OnceLock;

use hayloft_runtime::words::did_you_mean;
use serde::Serialize;

use crate::config::SaeConfig;
use crate::normalisation::Normalisation;

const TABLE: &[u8] = include_bytes!("saes.tsv.zst");

/// Upper bound on the table in memory.
const MAX_TABLE_BYTES: usize = 16 << 20;

/// A release of SAEs: files of one repository of the Hugging Face Hub that one loader reads.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Release {
    /// SAELens's name of the release, such as `gemma-scope-2b-pt-res`.
    pub name: &'static str,
    /// The repository on the Hub.
    pub repository: &'static str,
    /// SAELens's name of the loader.
    pub loader: &'static str,
    /// The name of the format that reads the files; `None` for a loader whose files are not read.
    pub format: Option<&'static str>,
    /// The model, by `TransformerLens`'s name or the Hub's.
    pub model: &'static str,
    /// The normalisation that the registry says and the files do not.
    pub normalisation: Option<&'static str>,
    /// Whether the model's writing weights were centred, where the registry says so and the files do not.
    pub is_centred: bool,
    /// The SAEs, in the registry's order.
    #[serde(skip)]
    pub saes: Vec<RegisteredSae>,
}

/// An SAE of a release.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RegisteredSae {
    /// The name in the release, such as `layer_20/width_16k/average_l0_71`.
    pub id: &'static str,
    /// The folder or file in the repository.
    pub path: &'static str,
    /// The site, or the input site of a transcoder, if it is known.
    pub site: Option<&'static str>,
    /// The mean number of latents that fire, as published.
    pub l0: Option<f64>,
    /// The explained variance, as published, as a fraction.
    pub explained_variance: Option<f64>,
    /// The factor c of `expected_average_only_in`, as published.
    pub scale: Option<f64>,
    /// The name on Neuronpedia.
    pub neuronpedia: Option<&'static str>,
}

/// Every release, in the registry's order.
pub fn releases() -> &'static [Release] {
    static RELEASES: OnceLock<Vec<Release>> = OnceLock::new();
    RELEASES.get_or_init(|| match zstd::bulk::decompress(TABLE, MAX_TABLE_BYTES).map(String::from_utf8) {
        Ok(Ok(text)) => parse(Box::leak(text.into_boxed_str())),
        // The table is compiled in, and a test reads it.
        _ => Vec::new(),
    })
}

fn parse(text: &'static str) -> Vec<Release> {
    let mut releases: Vec<Release> = Vec::new();
    for line in text.lines() {
        let cells: Vec<&'static str> = line.split('\t').collect();
        let filled = |cell: &'static str| Some(cell).filter(|cell| !cell.is_empty());
        match cells[..] {
            ["", name, repository, loader, model, normalisation, weights, format] => releases.push(Release {
                name,
                repository,
                loader,
                format: filled(format),
                model,
                normalisation: filled(normalisation),
                is_centred: weights == "centred",
                saes: Vec::new(),
            }),
            [id, path, site, l0, explained_variance, scale, neuronpedia] => {
                let sae = RegisteredSae {
                    id,
                    path: filled(path).unwrap_or(id),
                    site: filled(site),
                    l0: l0.parse().ok(),
                    explained_variance: explained_variance.parse().ok(),
                    scale: scale.parse().ok(),
                    neuronpedia: filled(neuronpedia),
                };
                if let Some(release) = releases.last_mut() {
                    release.saes.push(sae);
                }
            }
            _ => {}
        }
    }
    releases
}

/// An SAE that is found by its name `RELEASE/ID`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Registered {
    /// The release.
    pub release: &'static Release,
    /// The SAE.
    pub sae: &'static RegisteredSae,
}

/// Looks up `RELEASE/ID`, such as `gpt2-small-res-jb/blocks.8.hook_resid_pre`.
///
/// # Errors
/// A message that names the nearest release or id, if there is none of this name.
pub fn find(name: &str) -> Result<Registered, String> {
    let (release, id) = name.split_once('/').unwrap_or((name, ""));
    let found = release_of(release)?;
    let sae = found.saes.iter().find(|sae| sae.id == id).ok_or_else(|| {
        let near = did_you_mean(id, found.saes.iter().map(|sae| sae.id));
        let example = found.saes.first().map_or("", |sae| sae.id);
        let count = found.saes.len();
        format!("expected one of the {count} SAEs of {release}, such as {release}/{example}, got {id:?}{near}")
    })?;
    Ok(Registered { release: found, sae })
}

/// Looks up a release.
///
/// # Errors
/// A message that names the nearest release, if there is none of this name.
pub fn release_of(name: &str) -> Result<&'static Release, String> {
    releases().iter().find(|known| known.name == name).ok_or_else(|| {
        let near = did_you_mean(name, releases().iter().map(|known| known.name));
        format!("expected a release of SAELens's registry, got {name}{near}")
    })
}

/// Returns the SAEs whose names `RELEASE/ID` match a pattern, in the registry's order. `*`, `?` and `[...]` have their
/// meaning of a shell. As with folders, a pattern that matches the beginning of a name up to a `/` stands for all SAEs
/// below. An SAE that two releases list is returned once.
///
/// # Errors
/// A message about a malformed pattern.
pub fn matching(pattern: &str) -> Result<Vec<Registered>, String> {
    let options =
        glob::MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
    let pattern = glob::Pattern::new(pattern.trim_end_matches('/')).map_err(|error| error.to_string())?;
    let matches = |name: &str| {
        let ends = name.match_indices('/').map(|(end, _)| end).chain([name.len()]);
        ends.map(|end| &name[..end]).any(|beginning| pattern.matches_with(beginning, options))
    };
    let mut seen = BTreeSet::new();
    let all = releases().iter().flat_map(|release| release.saes.iter().map(move |sae| Registered { release, sae }));
    let found = all.filter(|registered| matches(&registered.to_string()));
    Ok(found.filter(|registered| seen.insert((registered.release.repository, registered.sae.path))).collect())
}

/// What is published at a path on this machine, told from the repository's name in it: that of a folder, or that of the
/// Hub's cache (`models--OWNER--NAME`). `None` unless the registry says more of it than its files do, or gives a scale.
pub(crate) fn published_at(folders: &[String], file: &str) -> Option<Registered> {
    let repository = |folder: &str, release: &Release| {
        let (owner, name) = release.repository.split_once('/').unwrap_or(("", release.repository));
        folder == name || folder.strip_prefix("models--").is_some_and(|rest| rest == format!("{owner}--{name}"))
    };
    let outwards: Vec<&str> = folders.iter().rev().map(String::as_str).collect();
    let path = [&outwards[..], &[file]].concat().join("/");
    releases().iter().find_map(|release| {
        folders.iter().find(|folder| repository(folder, release))?;
        let ends = |own: &str| path.ends_with(&format!("/{own}")) || path.contains(&format!("/{own}/"));
        release.saes.iter().find(|sae| ends(sae.path)).map(|sae| Registered { release, sae })
    })
}

impl Registered {
    /// Whether the files are those that the release's repository has: in its folder of the Hub's cache. `folders` has the
    /// names of the files' folder and of those above it.
    pub(crate) fn is_in_hub_cache(&self, folders: &[String]) -> bool {
        let own = format!("models--{}", self.release.repository.replace('/', "--"));
        folders.windows(3).any(|names| names[2] == own && names[1] == "snapshots")
    }

    /// Puts into the configuration what the registry says and the files do not, as SAELens does. Normalisation is left
    /// as it is if the user says what it is.
    pub(crate) fn apply(&self, said: Option<Normalisation>, config: &mut SaeConfig) {
        let named: Option<Normalisation> = self.release.normalisation.and_then(|name| name.parse().ok());
        if let Some(named) = named.filter(|_| said.is_none() && config.normalisation == Normalisation::None) {
            config.normalisation = named;
            let name = named.as_str();
            config.remarks.push(format!(
                "its input is normalised by {name}, as SAELens's registry ({self}) says and its files do not. --sae-normalise none leaves that out"
            ));
        }
        if self.release.is_centred && !config.conventions.center_writing_weights {
            config.conventions.center_writing_weights = true;
            config.remarks.push(format!(
                "it was trained on centred weights, as SAELens's registry ({self}) says and its files do not. --weights as-stored leaves that out"
            ));
        }
    }

    /// What the registry says of the SAE and its files do not, each with the option that says it here.
    pub(crate) fn unsaid(&self, normalisation: Normalisation, is_centred: bool) -> Vec<String> {
        let Self { release, sae } = self;
        let mut unsaid = Vec::new();
        if let Some(name) = release.normalisation.filter(|name| *name != normalisation.as_str()) {
            unsaid.push(format!(
                "SAELens's registry ({self}) says that its input is normalised by {name}, and its files do not: say --sae-normalise {name}"
            ));
        }
        if release.is_centred && !is_centred {
            unsaid.push(format!(
                "SAELens's registry ({self}) says that it was trained on centred weights, and its files do not: say --weights centred"
            ));
        }
        if let Some(scale) = sae.scale.filter(|_| normalisation == Normalisation::ExpectedAverageOnlyIn) {
            unsaid.push(format!(
                "SAELens's registry ({self}) gives it the scale {scale}, and here it is that of the evaluated cache: for the former say --scale {scale}"
            ));
        }
        unsaid
    }
}

impl fmt::Display for Registered {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.release.name, self.sae.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_release_and_sae() {
        let count: usize = releases().iter().map(|release| release.saes.len()).sum();
        assert_eq!((releases().len(), count), (170, 13_857));
        let with_site = releases().iter().flat_map(|release| &release.saes).filter(|sae| sae.site.is_some()).count();
        assert_eq!(with_site, 13_831, "all but the cross-layer transcoder's layers");
        let unread: Vec<&str> =
            releases().iter().filter(|release| release.format.is_none()).map(|release| release.name).collect();
        assert_eq!(
            unread,
            ["mntss-gemma-2-2b-2.5m-clt-as-per-layer", "temporal-sae-gemma-2-2b", "temporal-sae-llama-3.1-8b"]
        );
    }

    #[test]
    fn an_sae_is_found_by_its_name() {
        let Registered { release, sae } = find("gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71").unwrap();
        assert_eq!((release.repository, sae.path), ("google/gemma-scope-2b-pt-res", sae.id));
        assert_eq!((sae.site, sae.l0), (Some("blocks.20.hook_resid_post"), Some(71.0)));
        let canonical = find("gemma-scope-2b-pt-res-canonical/layer_20/width_16k/canonical").unwrap();
        assert_eq!(canonical.sae.path, "layer_20/width_16k/average_l0_71");
        let mistral = find("mistral-7b-res-wg/blocks.8.hook_resid_pre").unwrap();
        assert_eq!(mistral.release.normalisation, Some("constant_norm_rescale"));
        assert!(find("gpt2-small-res-jb/blocks.8.hook_resid_pre").unwrap().release.is_centred);
    }

    #[test]
    fn a_misspelt_name_is_answered_with_the_nearest() {
        let message = find("gpt2-small-res-jp/blocks.8.hook_resid_pre").unwrap_err();
        assert!(message.contains("Did you mean gpt2-small-res-jb?"), "{message}");
        let message = find("gpt2-small-res-jb/blocks.8.hook_resid_pr").unwrap_err();
        assert!(message.contains("Did you mean blocks.8.hook_resid_pre?"), "{message}");
        assert!(find("gpt2-small-res-jb").unwrap_err().contains("one of the 13 SAEs"));
    }

    #[test]
    fn patterns_are_those_of_folders() {
        let count = |pattern: &str| matching(pattern).unwrap().len();
        let names = |pattern: &str| matching(pattern).unwrap().iter().map(Registered::to_string).collect::<Vec<_>>();
        let layer = "gemma-scope-2b-pt-res-canonical/layer_12";
        assert_eq!(names(&format!("{layer}/width_16k/*")), [format!("{layer}/width_16k/canonical")]);
        assert_eq!(count(&format!("{layer}/*")), count(layer), "all below a beginning");
        assert!(names(&format!("{layer}/*")).iter().all(|name| name.starts_with(layer)));
        assert_eq!(count("gpt2-small-res-jb/blocks.[0-9].hook_resid_pre"), 10);
        assert_eq!((count("gpt2-small-res-jb"), count("gpt2-small-res-jb/*")), (13, 13));
        assert_eq!(count("gpt2-small-res-jb/*/*"), 0);
        assert_eq!(
            count("gemma-scope-2b-pt-res*/layer_12/width_16k/*"),
            count("gemma-scope-2b-pt-res/layer_12/width_16k/*")
        );
        assert!(matching("a[").is_err());
    }

    #[test]
    fn only_the_hubs_cache_is_the_repository() {
        let mistral = find("mistral-7b-res-wg/blocks.8.hook_resid_pre").unwrap();
        let folders = |path: &str| path.split('/').rev().map(str::to_owned).collect::<Vec<_>>();
        let cached = "h/models--JoshEngels--Mistral-7B-Residual-Stream-SAEs/snapshots/0/mistral_7b_layer_8";
        assert!(mistral.is_in_hub_cache(&folders(cached)));
        assert!(!mistral.is_in_hub_cache(&folders("h/Mistral-7B-Residual-Stream-SAEs/mistral_7b_layer_8")));
    }

    #[test]
    fn what_the_files_do_not_say_is_told_of_published_paths() {
        let folders = |path: &str| path.split('/').rev().map(str::to_owned).collect::<Vec<_>>();
        let path = "x/models--JoshEngels--Mistral-7B-Residual-Stream-SAEs/snapshots/0/mistral_7b_layer_8";
        let found = published_at(&folders(path), "sae_weights.safetensors").unwrap();
        assert_eq!(found.to_string(), "mistral-7b-res-wg/blocks.8.hook_resid_pre");
        let unsaid = found.unsaid(Normalisation::None, false);
        assert!(unsaid[0].contains("--sae-normalise constant_norm_rescale"), "{unsaid:?}");
        assert!(found.unsaid(Normalisation::ConstantNormRescale, false).is_empty());
        assert!(published_at(&folders("saes/mistral_7b_layer_8"), "sae_weights.safetensors").is_none());
    }
}
