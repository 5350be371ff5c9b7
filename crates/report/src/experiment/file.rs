//! The experiment file, which assigns roles to results.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hayloft_runtime::words::with_suggestion;
use serde::Deserialize;

use crate::error::ReportError;
use crate::experiment::role::{ModelRole, SaeRole};

/// Far above the size of a list of results.
const MAX_BYTES: u64 = 1 << 20;

/// An experiment, as its TOML file describes it. Paths are relative to the file.
///
/// ```toml
/// title = "Do SAEs transfer from base to chat?"
/// description = "One sentence under the title."     # optional
///
/// [[results]]
/// file = "pile-base/results.json"                   # of `evaluate run --out pile-base`
/// dataset = "pile"
/// model = "base"                                    # base or chat
/// family = "demo-qwen2"
/// saes = { "saes__base" = "base", "v2" = "chat" }   # needless for SAEs called base, chat or finetuned
///
/// [[training]]
/// file = "saes/finetuned/training.jsonl"
/// name = "fine-tuning the base SAE"
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// The title of the report.
    pub title: String,
    /// A description below the title.
    pub description: Option<String>,
    /// Results of `evaluate run`.
    pub results: Vec<ResultsEntry>,
    /// Training logs.
    #[serde(default)]
    pub training: Vec<TrainingEntry>,
}

/// One results file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultsEntry {
    /// `results.json`, or the folder that holds it.
    pub file: PathBuf,
    /// The dataset: `pile`, `alpaca`, or another name.
    pub dataset: String,
    /// The model that the activations come from.
    pub model: ModelRole,
    /// The family of the base and the chat model, such as `mistral-7b`.
    pub family: String,
    /// The role of each SAE to take from the file, by its name in the file. If empty, all SAEs are taken, and their
    /// names are their roles.
    #[serde(default)]
    pub saes: BTreeMap<String, SaeRole>,
}

/// One training log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingEntry {
    /// `training.jsonl`, or the folder that holds it.
    pub file: PathBuf,
    /// A description of the training run.
    pub name: String,
}

impl Experiment {
    /// Reads an experiment file and resolves its paths. Returns an error if a file does not exist.
    pub fn open(path: &Path) -> Result<Self, ReportError> {
        let text = String::from_utf8(read(path, "an experiment's file", MAX_BYTES)?);
        let text = text.map_err(|error| malformed(path, &error))?;
        let mut experiment: Self = toml::from_str(&text).map_err(|error| malformed(path, &error))?;
        if experiment.results.is_empty() {
            return Err(malformed(path, &"no [[results]]"));
        }
        experiment.resolve(path)?;
        Ok(experiment)
    }

    /// Resolves paths relative to the experiment file; a folder becomes the file inside it.
    fn resolve(&mut self, path: &Path) -> Result<(), ReportError> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let results = self.results.iter_mut().map(|entry| (&mut entry.file, "results.json"));
        let training = self.training.iter_mut().map(|entry| (&mut entry.file, "training.jsonl"));
        let mut missing = Vec::new();
        for (file, name) in results.chain(training) {
            let mut found = folder.join(&*file);
            if found.is_dir() {
                found.push(name);
            }
            if !found.is_file() {
                missing.push(found.display().to_string());
            }
            *file = found;
        }
        if missing.is_empty() {
            return Ok(());
        }
        Err(ReportError::Missing { experiment: path.to_path_buf(), missing: missing.join(", ") })
    }
}

fn malformed(path: &Path, error: &dyn std::fmt::Display) -> ReportError {
    let expected =
        "an experiment: a title, and [[results]] with file, dataset, model and family (`evaluate report --help`)";
    ReportError::Malformed { path: path.to_path_buf(), expected, got: with_suggestion(&error.to_string()) }
}

/// Reads a file, up to a size limit.
pub(crate) fn read(path: &Path, what: &'static str, limit: u64) -> Result<Vec<u8>, ReportError> {
    let cannot = |cause| ReportError::Read { path: path.to_path_buf(), cause };
    let bytes = std::fs::metadata(path).map_err(cannot)?.len();
    if bytes > limit {
        return Err(ReportError::TooLarge { path: path.to_path_buf(), what, limit, bytes });
    }
    std::fs::read(path).map_err(cannot)
}
