//! A model named by its folder or its id.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hayloft_runtime::Progress;
use serde::Deserialize;

use crate::argument::{HubFolder, is_path};
use crate::error::{HubError, Lacking};
use crate::identifiers::FileName;
use crate::settings::HubSettings;
use crate::snapshot::{View, Wanted, find_files, list};

/// Which files of a model are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelFiles {
    /// Its configuration.
    Config,
    /// Its configuration and its tokenizer.
    Tokenizer,
    /// All: its weights too.
    All,
}

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Files that say what a model computes, or that it is none.
const CONFIG: [&str; 2] = ["generation_config.json", "adapter_config.json"];

const TOKENIZER: [&str; 5] =
    ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"];

/// Tokenizers that are not read. Beside them, the reader says how to convert one.
const OTHER_TOKENIZERS: [&str; 5] = ["tokenizer.model", "vocab.json", "merges.txt", "vocab.txt", "tekken.json"];

/// Returns the folder of a model that an argument names: the folder itself, or that of an id, `OWNER/NAME[@REVISION]`, in
/// the Hub's cache, into which the files that are missing are fetched. A folder that exists comes before an id.
/// `settings` is asked only for an id.
pub fn model_folder(
    argument: &Path,
    files: ModelFiles,
    settings: impl FnOnce() -> Result<HubSettings, HubError>,
    progress: Progress,
) -> Result<PathBuf, HubError> {
    let text = argument.to_string_lossy();
    if argument.exists() {
        return Ok(argument.to_owned());
    }
    let parsed = if is_path(&text) { None } else { HubFolder::parse(&text).ok() };
    let Some(HubFolder { repository, path: None }) = parsed else {
        let advice = "Name the folder of a checkpoint, or its id on the Hugging Face Hub, such as google/gemma-2-2b or google/gemma-2-2b@main";
        return Err(HubError::NoFolder { argument: text.into_owned(), advice });
    };
    let found = settings()
        .and_then(|settings| find_files(&repository, &|view: &View<'_>| wanted(files, view), &settings, progress));
    found.map(|snapshot| snapshot.folder).map_err(|cause| cause.of(&text))
}

/// The files of a model.
fn wanted(files: ModelFiles, view: &View<'_>) -> Result<Wanted, Lacking> {
    if view.has("adapter_config.json") && !view.has("config.json") {
        return Err(Lacking {
            expected: "config.json".to_owned(),
            got: "adapter_config.json, of an adapter of PEFT".to_owned(),
            advice: "Merge the adapter into its base model (merge_and_unload and save_pretrained of PEFT) and give that folder"
                .to_owned(),
        });
    }
    let required = named("config.json").into_iter().collect();
    let mut wanted = Wanted { required, optional: CONFIG.into_iter().filter_map(named).collect() };
    if files == ModelFiles::Config {
        return Ok(wanted);
    }
    wanted.optional.extend(TOKENIZER.into_iter().filter_map(named));
    if !view.has("tokenizer.json") {
        wanted.optional.extend(OTHER_TOKENIZERS.into_iter().filter(|name| view.has(name)).filter_map(named));
    }
    if files == ModelFiles::All {
        wanted.required.extend(weights(view)?);
    }
    Ok(wanted)
}

/// A constant name.
fn named(name: &str) -> Option<FileName> {
    FileName::try_from(name.to_owned()).ok()
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The files of the weights, as transformers chooses them: the one file, or the index and the files that it names.
fn weights(view: &View<'_>) -> Result<Vec<FileName>, Lacking> {
    if view.has(SINGLE) {
        return Ok(named(SINGLE).into_iter().collect());
    }
    let Some(index) = named(INDEX).filter(|index| view.has(index.as_str())) else {
        let ending = |name: &FileName| name.as_str().rsplit_once('.').map(|(_, ending)| ending.to_owned());
        let advice = if view.names.iter().filter_map(ending).any(|ending| matches!(&*ending, "bin" | "pt" | "pth")) {
            "Weights that are a pickle (.bin, .pt) can run any program and are not read: have them converted to safetensors, for example by transformers' save_pretrained"
        } else {
            "Is this the repository of a model, and not of a quantised or converted one?"
        };
        return Err(Lacking {
            expected: format!("config.json and {SINGLE}, or {INDEX} and the files that it names"),
            got: list(view.names),
            advice: advice.to_owned(),
        });
    };
    let Some(bytes) = view.read(&index) else { return Ok(vec![index]) };
    let problem = |got: String| Lacking {
        expected: format!("{INDEX} with a weight_map of file names"),
        got,
        advice: "Another revision may have a sound one".to_owned(),
    };
    let parsed: Index = serde_json::from_slice(&bytes).map_err(|error| problem(error.to_string()))?;
    let mut files: Vec<FileName> =
        parsed.weight_map.into_values().map(FileName::try_from).collect::<Result<_, _>>().map_err(problem)?;
    files.sort();
    files.dedup();
    files.insert(0, index);
    Ok(files)
}
