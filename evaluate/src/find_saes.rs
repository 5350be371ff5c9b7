//! SAEs named on a command line: folders and patterns of this machine, names of SAELens's registry, ids of the Hub.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hayloft_hub::{
    FileName, HubError, HubFolder, HubSettings, Lacking, NamedIn, RepoId, RepoKind, Repository, Revision, Snapshot,
    View, Wanted, find_files, is_path,
};
use hayloft_runtime::Progress;
use hayloft_sae::registry::{self, Registered};
use hayloft_sae::{SaeError, SaeFormat, is_pattern, published_files};

use crate::error::EvaluateError;

/// Most SAEs that a pattern over the registry may name unless more are asked for.
pub const MOST_REGISTERED: usize = 64;

/// How SAEs that are named are found.
#[derive(Debug, Clone, Copy)]
pub struct SaeSearch {
    /// The format; `None` detects it from the files.
    pub format: Option<SaeFormat>,
    /// Most SAEs that a pattern over the registry may name.
    pub most_registered: usize,
    /// How the progress of downloads is shown.
    pub progress: Progress,
}

/// An SAE in a repository.
struct PublishedSae {
    path: String,
    format: Option<SaeFormat>,
}

/// Returns the SAEs that arguments name, each as its folder or its one file, in the order of the arguments.
///
/// An argument is a path as [`hayloft_sae::find_saes`] takes it, a name `RELEASE/ID` of SAELens's registry, a pattern of
/// such names, or an id `OWNER/NAME[/PATH][@REVISION]` of the Hugging Face Hub. What exists on this machine comes first,
/// then the registry. Files of the Hub are found in its cache, or else fetched into it. `settings` is asked only for them.
pub fn find_saes(
    arguments: &[impl AsRef<Path>],
    search: SaeSearch,
    settings: impl Fn() -> Result<HubSettings, HubError>,
) -> Result<Vec<PathBuf>, EvaluateError> {
    let mut found = Vec::new();
    for argument in arguments {
        let argument = argument.as_ref();
        let name = argument.to_string_lossy();
        if argument.exists() {
            found.extend(hayloft_sae::find_saes([argument])?);
        } else if is_pattern(argument) {
            found.extend(match hayloft_sae::find_saes([argument]) {
                Err(SaeError::Pattern { pattern, problem }) => match registered(&name, search)? {
                    saes if saes.is_empty() => return Err(SaeError::Pattern { pattern, problem }.into()),
                    saes => fetch_registered(&name, &saes, search, &settings)?,
                },
                found => found?,
            });
        } else if registry::release_of(name.split('/').next().unwrap_or_default()).is_ok() {
            let sae = registry::find(&name)
                .map_err(|problem| SaeError::NotInRegistry { path: argument.to_path_buf(), problem })?;
            found.extend(fetch_registered(&name, &[sae], search, &settings)?);
        } else {
            found.push(fetch_id(&name, search, &settings)?);
        }
    }
    Ok(found)
}

/// The SAEs of the registry that match a pattern.
fn registered(pattern: &str, search: SaeSearch) -> Result<Vec<Registered>, EvaluateError> {
    let refuse = |problem: String| SaeError::Pattern { pattern: pattern.into(), problem };
    let saes = registry::matching(pattern).map_err(refuse)?;
    if saes.len() > search.most_registered {
        let (count, most) = (saes.len(), search.most_registered);
        return Err(refuse(format!(
            "it matches {count} SAEs of SAELens's registry, more than {most}. Name fewer, or say --most-saes {count}"
        ))
        .into());
    }
    if !saes.is_empty() {
        tracing::info!("{} SAEs of SAELens's registry match {pattern}", saes.len());
    }
    Ok(saes)
}

/// Finds SAEs of the registry, asking once for each repository. Returns them in their order.
fn fetch_registered(
    argument: &str,
    saes: &[Registered],
    search: SaeSearch,
    settings: &impl Fn() -> Result<HubSettings, HubError>,
) -> Result<Vec<PathBuf>, EvaluateError> {
    let mut of_repositories: BTreeMap<&str, Vec<PublishedSae>> = BTreeMap::new();
    for Registered { release, sae } in saes {
        let Some(format) = release.format.and_then(|name| name.parse().ok()) else {
            let problem =
                format!("SAEs of the release {} are not read: its loader is {}", release.name, release.loader);
            return Err(SaeError::NotInRegistry { path: argument.into(), problem }.into());
        };
        let published = PublishedSae { path: sae.path.to_owned(), format: search.format.or(Some(format)) };
        of_repositories.entry(release.repository).or_default().push(published);
    }
    let settings = settings()?;
    let mut folders: BTreeMap<&str, PathBuf> = BTreeMap::new();
    for (repository, saes) in of_repositories {
        let id = RepoId::try_from(repository.to_owned());
        let id = id.map_err(|problem| SaeError::NotInRegistry { path: argument.into(), problem })?;
        let (kind, revision) = (RepoKind::Model, Revision::main());
        let from = Repository { kind, id, revision, named_in: NamedIn::Argument };
        let snapshot = find_published(&from, &saes, &settings, search).map_err(|cause| cause.of(argument))?;
        folders.insert(repository, snapshot.folder);
    }
    Ok(saes.iter().map(|Registered { release, sae }| folders[release.repository].join(sae.path)).collect())
}

/// Finds an SAE by its id on the Hub.
fn fetch_id(
    argument: &str,
    search: SaeSearch,
    settings: &impl Fn() -> Result<HubSettings, HubError>,
) -> Result<PathBuf, EvaluateError> {
    let parsed = HubFolder::parse(argument).ok().filter(|_| argument.contains('/') && !is_path(argument));
    let Some(HubFolder { repository, path }) = parsed else {
        let advice = "Name the folder of an SAE, RELEASE/ID of SAELens's registry (`evaluate list` shows it), or OWNER/NAME/PATH of a repository of the Hugging Face Hub";
        return Err(HubError::NoFolder { argument: argument.to_owned(), advice }.into());
    };
    let path = path.map(String::from).unwrap_or_default();
    let sae = PublishedSae { path: path.clone(), format: search.format };
    let settings = settings()?;
    let snapshot = find_published(&repository, &[sae], &settings, search).map_err(|cause| cause.of(argument))?;
    Ok(if path.is_empty() { snapshot.folder } else { snapshot.folder.join(path) })
}

/// Finds the files of SAEs of one repository.
fn find_published(
    repository: &Repository,
    saes: &[PublishedSae],
    settings: &HubSettings,
    search: SaeSearch,
) -> Result<Snapshot, HubError> {
    find_files(repository, &|view: &View<'_>| wanted(view, saes), settings, search.progress)
}

fn wanted(view: &View<'_>, saes: &[PublishedSae]) -> Result<Wanted, Lacking> {
    let names: Vec<&str> = view.names.iter().map(FileName::as_str).collect();
    let mut wanted = Wanted::default();
    for PublishedSae { path, format } in saes {
        let lacks = |got: String| {
            let expected = if path.is_empty() { "the files of an SAE".to_owned() } else { format!("the SAE {path}") };
            Lacking { expected, got, advice: "`evaluate list` shows what is published".to_owned() }
        };
        let files = published_files(path, &names, *format).map_err(|error| lacks(error.to_string()))?;
        let checked = |names: Vec<String>| names.into_iter().map(FileName::try_from).collect::<Result<Vec<_>, _>>();
        wanted.required.extend(checked(files.required).map_err(lacks)?);
        wanted.optional.extend(checked(files.optional).map_err(lacks)?);
    }
    // SAEs that share a configuration name it once each.
    for names in [&mut wanted.required, &mut wanted.optional] {
        names.sort();
        names.dedup();
    }
    Ok(wanted)
}
