//! Loading and checking of a report's inputs.

use std::path::Path;

use hayloft_results::{DEFINITIONS, SaeResult, TrainingRecord};
use serde::Deserialize;

use crate::error::ReportError;
use crate::experiment::agreement::check_agreement;
use crate::experiment::entry::Entry;
use crate::experiment::file::{Experiment, ResultsEntry, TrainingEntry, read};
use crate::experiment::left_out::LeftOut;
use crate::experiment::role::SaeRole;

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
        let (mut entries, mut left_out) = (Vec::new(), Vec::new());
        for entry in &experiment.results {
            entries.extend(read_results(entry, &mut left_out)?);
        }
        check_agreement(&entries)?;
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

/// Reads the results that the experiment names; lists the rest in `left_out`.
fn read_results(entry: &ResultsEntry, left_out: &mut Vec<LeftOut>) -> Result<Vec<Entry>, ReportError> {
    let path = &entry.file;
    let bytes = read(path, "results of `evaluate run`", MAX_RESULTS_BYTES)?;
    let malformed = |error: serde_json::Error| ReportError::Malformed {
        path: path.clone(),
        expected: "results.json as `evaluate run --out` of this version writes it",
        got: format!("{error}. Evaluate again"),
    };
    let versions: Vec<Version> = serde_json::from_slice(&bytes).map_err(malformed)?;
    if let Some(other) = versions.into_iter().find(|version| version.definitions != DEFINITIONS) {
        return Err(ReportError::OtherVersion { path: path.clone(), got: other.definitions });
    }
    let results: Vec<SaeResult> = serde_json::from_slice(&bytes).map_err(malformed)?;
    if results.is_empty() {
        let (path, expected, got) = (path.clone(), "results of at least one SAE", "none".to_owned());
        return Err(ReportError::Malformed { path, expected, got });
    }
    for name in entry.saes.keys() {
        if !results.iter().any(|result| result.sae == *name) {
            let mut available: Vec<&str> = results.iter().map(|result| result.sae.as_str()).collect();
            available.dedup();
            let (path, sae, available) = (path.clone(), name.clone(), available.join(", "));
            return Err(ReportError::NoSuchSae { path, sae, available });
        }
    }
    let is_named = |name: &str| entry.saes.is_empty() || entry.saes.contains_key(name);
    let mut unnamed: Vec<&str> = Vec::new();
    for result in results.iter().filter(|result| !is_named(&result.sae)) {
        if !unnamed.contains(&result.sae.as_str()) {
            unnamed.push(&result.sae);
        }
    }
    left_out.extend(unnamed.into_iter().map(|name| LeftOut::sae(path, name, &results)));
    left_out.extend(LeftOut::figures(path, results.iter().filter(|result| is_named(&result.sae))));
    let mut entries = Vec::new();
    for result in results {
        let sae = if entry.saes.is_empty() {
            let unknown = || ReportError::NoRole { path: path.clone(), sae: result.sae.clone() };
            SaeRole::named(&result.sae).ok_or_else(unknown)?
        } else if let Some(&role) = entry.saes.get(&result.sae) {
            role
        } else {
            continue;
        };
        entries.push(Entry {
            dataset: entry.dataset.clone(),
            family: entry.family.clone(),
            model: entry.model,
            sae,
            result,
            file: path.clone(),
        });
    }
    Ok(entries)
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
