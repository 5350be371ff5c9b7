//! The experiment file, which names results.

use std::path::{Path, PathBuf};

use hayloft_rows::SectionChoice;
use hayloft_runtime::words::with_suggestion;
use serde::Deserialize;

use crate::error::ReportError;
use crate::experiment::saes::SaeNames;
use crate::experiment::sort::SortBy;
use crate::experiment::study;

/// Far above the size of a list of results.
const MAX_BYTES: u64 = 1 << 20;

/// The most names of a folder that an error lists.
const MOST_SHOWN: usize = 12;

/// An experiment, as its TOML file describes it. Paths are relative to the file.
///
/// ```toml
/// title = "SAEs of layer 12"
/// description = "One sentence under the title."     # optional
/// sort = "l0"                                       # optional: any column
///
/// [[results]]
/// file = "results/topk"                             # of `evaluate run --out results/topk`
/// series = "TopK"                                   # optional, as all that follow
/// model = "Gemma 2 2B"
/// dataset = "The Pile"
/// saes = { "topk_k_20" = "TopK 20" }
/// sections = ["all"]
///
/// [[training]]
/// file = "saes/topk/training.jsonl"
/// name = "TopK 20"
/// ```
///
/// The preset `study` gives models and SAEs roles: `model` is base or chat, each result has a `family`, and SAEs are
/// base, chat or finetuned. A file whose results have a family is one of the study.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// The title of the report.
    pub title: String,
    /// A description below the title.
    pub description: Option<String>,
    /// The meaning of names.
    pub preset: Option<Preset>,
    /// The column that SAEs are sorted by; otherwise they are in the file's order.
    pub sort: Option<SortBy>,
    /// Results of `evaluate run`.
    pub results: Vec<ResultsEntry>,
    /// Training logs.
    #[serde(default)]
    pub training: Vec<TrainingEntry>,
}

/// The meaning of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Base and chat models of families; base, chat and fine-tuned SAEs.
    Study,
}

/// One results file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultsEntry {
    /// `results.json`, or the folder that holds it.
    pub file: PathBuf,
    /// The dataset; by default the cache's corpus.
    pub dataset: Option<String>,
    /// The model that the activations come from; by default its type. In the study base or chat.
    pub model: Option<String>,
    /// The family of the base and the chat model, such as `mistral-7b`. Of the study only.
    pub family: Option<String>,
    /// The curve that the SAEs are points of; by default their architecture and width.
    pub series: Option<String>,
    /// The sections to take; all if empty.
    #[serde(default)]
    pub sections: Vec<SectionChoice>,
    /// The SAEs to take, and what they are called; by default all, by their names. In the study their roles.
    #[serde(default)]
    pub saes: SaeNames,
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
        if experiment.is_study() {
            experiment.check_study().map_err(|problem| malformed(path, &problem))?;
        }
        experiment.resolve(path)?;
        Ok(experiment)
    }

    /// The text of an experiment file for one results file, with SAEs sorted by L0.
    pub fn sweep(title: &str, results: &str) -> String {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        format!("title = {}\nsort = \"l0\"\n\n[[results]]\nfile = {}\n", quoted(title), quoted(results))
    }

    /// Whether names are those of the study.
    pub fn is_study(&self) -> bool {
        self.preset == Some(Preset::Study) || self.results.iter().any(|entry| entry.family.is_some())
    }

    /// Checks that each result has the keys and the roles of the study.
    fn check_study(&self) -> Result<(), String> {
        for ResultsEntry { file, dataset, model, family, .. } in &self.results {
            let lacks = |key: &str| {
                let file = file.display();
                format!(
                    "results of {file} without {key}. The study's results (preset = \"study\", or a family) have dataset, model and family"
                )
            };
            study::model(model.as_deref().ok_or_else(|| lacks("model"))?)?;
            dataset.as_ref().ok_or_else(|| lacks("dataset"))?;
            family.as_ref().ok_or_else(|| lacks("family"))?;
        }
        Ok(())
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
                missing.push(format!("{}{}", found.display(), what_is_there(&found)));
            }
            *file = found;
        }
        if missing.is_empty() {
            return Ok(());
        }
        Err(ReportError::Missing { experiment: path.to_path_buf(), missing: missing.join(", ") })
    }
}

/// Lists the nearest folder on the way to a missing file.
fn what_is_there(missing: &Path) -> String {
    let Some(folder) = missing.ancestors().skip(1).find(|folder| folder.is_dir()) else { return String::new() };
    let Ok(entries) = std::fs::read_dir(folder) else { return String::new() };
    let mut names: Vec<String> =
        entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect();
    names.sort();
    let more = names.len().saturating_sub(MOST_SHOWN);
    names.truncate(MOST_SHOWN);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    let held = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    format!(" ({} holds {held})", folder.display())
}

fn malformed(path: &Path, error: &dyn std::fmt::Display) -> ReportError {
    let expected = "an experiment: a title, and [[results]] with a file each (`evaluate report --help`)";
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
