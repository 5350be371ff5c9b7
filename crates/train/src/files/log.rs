//! The training log `training.jsonl` and its plot.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use hayloft_report::training_curves;
use hayloft_results::TrainingRecord;
use hayloft_runtime::write_whole;

use crate::error::TrainError;

const FILE: &str = "training.jsonl";
const CURVES: &str = "training.svg";

/// An append-only log of training records.
#[derive(Debug)]
pub(crate) struct TrainingLog {
    path: PathBuf,
    file: File,
}

impl TrainingLog {
    /// Opens the log and keeps the records of the first `step` steps. Later records, of an interrupted run, are dropped and
    /// written again.
    pub(crate) fn open(out: &Path, step: u64) -> Result<Self, TrainError> {
        let path = out.join(FILE);
        let kept: String = read(&path).iter().filter(|record| record.step <= step).filter_map(line).collect();
        write_whole(&path, kept.as_bytes()).map_err(TrainError::write(&path))?;
        let file = OpenOptions::new().append(true).open(&path).map_err(TrainError::write(&path))?;
        Ok(Self { path, file })
    }

    /// Appends a record.
    pub(crate) fn push(&mut self, record: &TrainingRecord) -> Result<(), TrainError> {
        let line = line(record).unwrap_or_default();
        self.file.write_all(line.as_bytes()).map_err(TrainError::write(&self.path))
    }

    /// Plots all records to `training.svg` beside the log.
    pub(crate) fn draw(&self) -> Result<(), TrainError> {
        let path = self.path.with_file_name(CURVES);
        write_whole(&path, training_curves(&read(&self.path)).as_bytes()).map_err(TrainError::write(&path))
    }
}

/// Reads the records of a file, skipping an incomplete last line.
fn read(path: &Path) -> Vec<TrainingRecord> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn line(record: &TrainingRecord) -> Option<String> {
    Some(serde_json::to_string(record).ok()? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(step: u64) -> TrainingRecord {
        TrainingRecord {
            step,
            tokens: step * 8,
            learning_rate: 0.1,
            loss: 1.0 / 3.0,
            reconstruction_loss: 0.25,
            sparsity_loss: None,
            auxiliary_loss: Some(0.5),
            l0: 4.0,
            explained_variance: -2662.0,
            dead_fraction: None,
            never_fired_fraction: 0.25,
            held_out: None,
        }
    }

    #[test]
    fn a_resumed_log_goes_on_where_the_checkpoint_was() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = TrainingLog::open(folder.path(), 0).unwrap();
        for step in [10, 20, 30] {
            log.push(&record(step)).unwrap();
        }
        let path = folder.path().join(FILE);
        let torn = std::fs::read_to_string(&path).unwrap() + "{\"step\": 4";
        std::fs::write(&path, torn).unwrap();
        let mut log = TrainingLog::open(folder.path(), 20).unwrap();
        log.push(&record(30)).unwrap();
        assert_eq!(read(&path), [record(10), record(20), record(30)]);
        assert!(std::fs::read_to_string(&path).unwrap().contains("\"sparsity_loss\":null"));
        log.draw().unwrap();
        assert!(std::fs::read_to_string(folder.path().join(CURVES)).unwrap().starts_with("<svg"));
    }
}
