//! Says what is in the place of a checkpoint or of its weights, and what to do about it, for messages.

use std::path::{Path, PathBuf};

use hayloft_runtime::{file_names, other_file_at};

const CONFIG: &str = "config.json";

/// Weights in other formats: how their names begin and end, and what they are. The first that fits counts.
const OTHER_WEIGHTS: [(&str, &str, &str); 10] = [
    ("", ".gguf", "a GGUF file, which is not read. Take the checkpoint in safetensors that it was made from"),
    ("consolidated", ".safetensors", "weights by Mistral's names. Take the repository's files model*.safetensors"),
    (
        "consolidated",
        ".pth",
        "weights by Meta's names. Take the repository that has them in the layout of transformers",
    ),
    ("", ".bin", PICKLED),
    ("", ".pth", PICKLED),
    ("", ".pt", PICKLED),
    ("", ".h5", "weights of TensorFlow. Save them as safetensors with transformers: from_pretrained(…, from_tf=True)"),
    ("", ".msgpack", "weights of Flax. Save them as safetensors with transformers: from_pretrained(…, from_flax=True)"),
    ("", ".onnx", "a graph of ONNX. Take the checkpoint in safetensors that it was made from"),
    ("", ".safetensors", "which has another name. If it holds the whole model, name it model.safetensors"),
];
const PICKLED: &str = "pickled weights, which are not read, for a pickle can run any program. Convert them to safetensors: \
                       from_pretrained and save_pretrained of transformers";

/// Files of SAEs.
const OF_SAES: [&str; 6] =
    ["cfg.json", "hyperparams.json", "params.npz", "params.safetensors", "sae_weights.safetensors", "ae.pt"];

/// Most folders that a message names.
const NAMED: usize = 4;

/// Returns what lies at `folder` in place of a checkpoint; `None` if nothing does, or if it lacks `config.json` alone.
pub(crate) fn of_checkpoint(folder: &Path) -> Option<String> {
    if folder.is_file() {
        let parent = folder.parent().unwrap_or(Path::new(""));
        return Some(match other_file_at(folder) {
            Some(what) => what.to_owned(),
            None if parent.join(CONFIG).is_file() => format!("a file. Name its folder, {}", shown(parent)),
            None => "a file".to_owned(),
        });
    }
    if !folder.is_dir() {
        return None;
    }
    let checkpoints = checkpoints_below(folder);
    let names = file_names(folder);
    match (&checkpoints[..], names.is_empty()) {
        ([], true) => Some("an empty folder".to_owned()),
        ([], false) => match names.iter().find(|name| OF_SAES.contains(&name.as_str())) {
            Some(name) => Some(format!("an SAE ({name}). It is given as --sae, beside the model that it is of")),
            None if names.iter().any(|name| name.starts_with("model") && name.ends_with(".safetensors")) => None,
            None => other_weights(&names),
        },
        ([one], _) => Some(format!("a folder above it. Name {}", one.display())),
        ([_, ..], _) => {
            let some: Vec<String> = checkpoints.iter().take(NAMED).map(|path| path.display().to_string()).collect();
            Some(format!("a folder with several: {}. Name one of them", some.join(", ")))
        }
    }
}

/// Returns what a folder holds in place of weights that are read.
pub(crate) fn of_weights(folder: &Path) -> String {
    other_weights(&file_names(folder))
        .map_or_else(|| "found neither".to_owned(), |got| format!("found neither, but {got}"))
}

fn other_weights(names: &[String]) -> Option<String> {
    OTHER_WEIGHTS.iter().find_map(|(start, end, what)| {
        let name = names.iter().find(|name| name.starts_with(start) && name.to_lowercase().ends_with(end))?;
        Some(format!("{name}, {what}"))
    })
}

/// The folders below a folder that hold a `config.json`, by name; in the Hub's cache they are in `snapshots/`.
fn checkpoints_below(folder: &Path) -> Vec<PathBuf> {
    let inner = |folder: &Path| {
        let names = file_names(folder).into_iter().filter(|name| !name.starts_with('.'));
        names.map(|name| folder.join(name)).filter(|path| path.is_dir()).collect::<Vec<_>>()
    };
    let below = inner(folder);
    let snapshots = inner(&folder.join("snapshots"));
    below.into_iter().chain(snapshots).filter(|path| path.join(CONFIG).is_file()).collect()
}

fn shown(folder: &Path) -> String {
    if folder.as_os_str().is_empty() { ".".to_owned() } else { folder.display().to_string() }
}
