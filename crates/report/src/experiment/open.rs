//! Loading and checking of a report's inputs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use hayloft_results::{DEFINITIONS, SaeResult, TrainingRecord};
use hayloft_runtime::words::did_you_mean;
use serde::Deserialize;

use crate::error::ReportError;
use crate::experiment::agreement::check_agreement;
use crate::experiment::entry::Entry;
use crate::experiment::file::{Experiment, ResultsEntry, TrainingEntry, read};
use crate::experiment::left_out::LeftOut;
use crate::experiment::name::Order;
use crate::experiment::sort::sort;
use crate::experiment::study;

/// Above the size of a hundred SAEs' results over a thousand shards.
const MAX_RESULTS_BYTES: u64 = 1 << 30;

/// Above the size of a million logged steps.
const MAX_TRAINING_BYTES: u64 = 1 << 30;

/// An experiment with its results.
#[derive(Debug)]
pub struct Report {
    pub(crate) experiment: Experiment,
    pub(crate) entries: Vec<Entry>,
    pub(crate) trainings: Vec<Training>,
    pub(crate) left_out: Vec<LeftOut>,
}

/// The version of a result.
#[derive(Deserialize)]
struct Version {
    definitions: String,
}

/// One training run.
#[derive(Debug)]
pub(crate) struct Training {
    pub(crate) name: String,
    pub(crate) records: Vec<TrainingRecord>,
}

impl Report {
    /// Reads the files that an experiment names. Returns an error if they disagree.
    pub fn open(experiment: &Path) -> Result<Self, ReportError> {
        let experiment = Experiment::open(experiment)?;
        let mut reader = Reader { is_study: experiment.is_study(), ..Reader::default() };
        for entry in &experiment.results {
            reader.take(entry)?;
        }
        let mut left_out = reader.left_out(&experiment);
        let mut entries = reader.entries;
        check_agreement(&entries)?;
        sort(&mut entries, experiment.sort);
        let mut trainings = Vec::new();
        for entry in &experiment.training {
            let training = read_training(entry)?;
            if training.records.is_empty() {
                let what = format!("the log of training {}", entry.name);
                left_out.push(LeftOut::new(&entry.file, what, "it has no records"));
            }
            trainings.push(training);
        }
        Ok(Self { experiment, entries, trainings, left_out })
    }

    /// Contents of the experiment's files that the report does not show.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }
}

/// Results as they are read, with what the experiment calls them.
#[derive(Default)]
struct Reader {
    is_study: bool,
    families: Order,
    datasets: Order,
    models: Order,
    sites: Order,
    saes: Order,
    series: Order,
    files: HashMap<PathBuf, Vec<SaeResult>>,
    entries: Vec<Entry>,
}

impl Reader {
    /// Takes the results that an entry of the experiment names.
    fn take(&mut self, entry: &ResultsEntry) -> Result<(), ReportError> {
        let path = &entry.file;
        if !self.files.contains_key(path) {
            self.files.insert(path.clone(), read_results(path)?);
        }
        let results = &self.files[path];
        for name in entry.saes.names() {
            if !results.iter().any(|result| result.sae == name) {
                let available = distinct(results.iter().map(|result| result.sae.clone()));
                let near = did_you_mean(name, &available);
                let (path, sae, available) = (path.clone(), name.to_owned(), available.join(", ") + &near);
                return Err(ReportError::NoSuchSae { path, sae, available });
            }
        }
        for section in &entry.sections {
            if !results.iter().any(|result| result.section == *section) {
                let available = distinct(results.iter().map(|result| result.section.to_string())).join(", ");
                return Err(ReportError::NoSuchSection { path: path.clone(), section: section.to_string(), available });
            }
        }
        let taken = results.iter().filter(|result| entry.takes(result));
        for result in taken.cloned().collect::<Vec<_>>() {
            let named = self.name(entry, result)?;
            self.entries.push(named);
        }
        Ok(())
    }

    /// Names a result.
    fn name(&mut self, entry: &ResultsEntry, result: SaeResult) -> Result<Entry, ReportError> {
        let path = entry.file.clone();
        let provenance = &result.provenance;
        let label = entry.saes.label(&result.sae).unwrap_or(&result.sae).to_owned();
        let dataset = entry.dataset.clone().unwrap_or_else(|| provenance.corpus.clone());
        let model = entry.model.clone().unwrap_or_else(|| provenance.model.model_type.clone());
        let usual = || format!("{}, {} latents", provenance.sae.architecture, provenance.sae.width);
        let series = entry.series.clone().unwrap_or_else(usual);
        let no_role = |problem| ReportError::NoRole { path: path.clone(), sae: result.sae.clone(), problem };
        let (dataset, model, sae) = if self.is_study {
            (study::dataset(&dataset), study::model(&model).map_err(no_role)?, study::sae(&label).map_err(no_role)?)
        } else {
            (self.datasets.name(&dataset), self.models.name(&model), self.saes.name(&label))
        };
        let family = entry.family.as_deref().map(|family| self.families.name(family));
        let (site, series) = (self.sites.name(&result.site), self.series.name(&series));
        Ok(Entry { dataset, family, model, site, sae, series, result, file: path })
    }

    /// SAEs and sections of the files that no entry of the experiment takes.
    fn left_out(&self, experiment: &Experiment) -> Vec<LeftOut> {
        let mut left_out = Vec::new();
        for path in distinct(experiment.results.iter().map(|entry| entry.file.clone())) {
            let entries: Vec<&ResultsEntry> = experiment.results.iter().filter(|entry| entry.file == path).collect();
            let is_left = |result: &&SaeResult| !entries.iter().any(|entry| entry.takes(result));
            let results: Vec<&SaeResult> = self.files[&path].iter().filter(is_left).collect();
            for name in distinct(results.iter().map(|result| result.sae.as_str())) {
                let is_named = entries.iter().any(|entry| entry.saes.label(name).is_some());
                let why = if is_named {
                    "the experiment's `sections` for this file do not name them"
                } else {
                    "the experiment's `saes` for this file do not name it"
                };
                let own: Vec<&SaeResult> = results.iter().copied().filter(|result| result.sae == name).collect();
                left_out.push(LeftOut::sae(&path, name, &own, why));
            }
        }
        left_out
    }
}

impl ResultsEntry {
    /// Whether the entry names a result.
    fn takes(&self, result: &SaeResult) -> bool {
        let is_section = self.sections.is_empty() || self.sections.contains(&result.section);
        is_section && self.saes.label(&result.sae).is_some()
    }
}

/// Items without repeats, in their order.
fn distinct<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut distinct = Vec::new();
    for item in items {
        if !distinct.contains(&item) {
            distinct.push(item);
        }
    }
    distinct
}

/// Reads a results file.
fn read_results(path: &Path) -> Result<Vec<SaeResult>, ReportError> {
    let bytes = read(path, "results of `evaluate run`", MAX_RESULTS_BYTES)?;
    let malformed = |error: serde_json::Error| ReportError::Malformed {
        path: path.to_path_buf(),
        expected: "results.json as `evaluate run --out` of this version writes it",
        got: format!("{error}. Evaluate again"),
    };
    let versions: Vec<Version> = serde_json::from_slice(&bytes).map_err(malformed)?;
    if let Some(other) = versions.into_iter().find(|version| version.definitions != DEFINITIONS) {
        return Err(ReportError::OtherVersion { path: path.to_path_buf(), got: other.definitions });
    }
    let results: Vec<SaeResult> = serde_json::from_slice(&bytes).map_err(malformed)?;
    if results.is_empty() {
        let (expected, got) = ("results of at least one SAE", "none".to_owned());
        return Err(ReportError::Malformed { path: path.to_path_buf(), expected, got });
    }
    Ok(results)
}

fn read_training(entry: &TrainingEntry) -> Result<Training, ReportError> {
    let path = &entry.file;
    let bytes = read(path, "a log of training", MAX_TRAINING_BYTES)?;
    let lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let record = |(number, line): (usize, &[u8])| {
        serde_json::from_slice(line).map_err(|error| ReportError::Malformed {
            path: path.clone(),
            expected: "training.jsonl as `evaluate train --out` writes it",
            got: format!("in line {}: {error}", number + 1),
        })
    };
    let records = lines.enumerate().map(record).collect::<Result<_, _>>()?;
    Ok(Training { name: entry.name.clone(), records })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_another_version_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("experiment.toml");
        let entry = "[[results]]\nfile = \"results.json\"\ndataset = \"pile\"\nmodel = \"base\"\nfamily = \"tiny\"\n";
        std::fs::write(&path, format!("title = \"T\"\n{entry}")).unwrap();
        let other = DEFINITIONS.replace("v1", "v2");
        std::fs::write(folder.path().join("results.json"), format!("[{{\"definitions\": \"{other}\"}}]")).unwrap();
        let told = Report::open(&path).unwrap_err().to_string();
        for part in ["results.json", &format!("{DEFINITIONS}, got {other}"), "evaluate again"] {
            assert!(told.contains(part), "{told}");
        }
    }
}
