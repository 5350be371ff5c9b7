//! The experiment's file: which results belong where.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::ReportError;
use super::role::{ModelRole, SaeRole};

/// Far more than a list of results takes.
const MAX_BYTES: u64 = 1 << 20;

/// What an experiment consists of, as its TOML says. Paths are relative to the file.
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
    /// Stands above the report.
    pub title: String,
    /// Stands under the title.
    pub description: Option<String>,
    /// Results of `evaluate run`.
    pub results: Vec<ResultsEntry>,
    /// Logs of training.
    #[serde(default)]
    pub training: Vec<TrainingEntry>,
}

/// One file of results.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultsEntry {
    /// `results.json`, or the folder that holds it.
    pub file: PathBuf,
    /// What was read: `pile`, `alpaca`, or a name of its own.
    pub dataset: String,
    /// Whose activations they are.
    pub model: ModelRole,
    /// The family that base and chat model are of, such as `mistral-7b`.
    pub family: String,
    /// The role of each SAE that is to be taken from the file, by its name in it. Empty: all are taken, and are called by
    /// their roles.
    #[serde(default)]
    pub saes: BTreeMap<String, SaeRole>,
}

/// One log of training.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingEntry {
    /// `training.jsonl`, or the folder that holds it.
    pub file: PathBuf,
    /// What was trained, in words.
    pub name: String,
}

impl Experiment {
    /// Reads an experiment's file, finds the files that it names, and refuses if any is not there.
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

    /// Makes paths relative to the experiment's file, and folders the files in them.
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
    ReportError::Malformed { path: path.to_path_buf(), expected, got: error.to_string() }
}

/// Reads a file that has a sensible size.
pub(super) fn read(path: &Path, what: &'static str, limit: u64) -> Result<Vec<u8>, ReportError> {
    let cannot = |cause| ReportError::Read { path: path.to_path_buf(), cause };
    let bytes = std::fs::metadata(path).map_err(cannot)?.len();
    if bytes > limit {
        return Err(ReportError::TooLarge { path: path.to_path_buf(), what, limit, bytes });
    }
    std::fs::read(path).map_err(cannot)
}
