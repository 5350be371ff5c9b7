//! A small cache, and a folder for the SAEs trained on it: by the library, or by the program.

use std::path::{Path, PathBuf};
use std::process::Command;

use hayloft_evaluate::{Evaluation, RunSettings};
use hayloft_results::TrainingRecord;
use hayloft_runtime::Progress;
use hayloft_train::{
    Architecture, Coefficients, Course, FinetuneSettings, Penalty, TrainError, TrainSettings, TrainingSummary, train,
};
use serde_json::Value;
use tempfile::TempDir;

use super::tiny::{SITE, Tiny, model};

/// Latents of the SAEs.
pub const WIDTH: usize = 48;

/// An architecture that needs as little as any.
pub const STANDARD: Architecture = Architecture::Standard { l1: 0.05 };

pub struct Bench {
    pub tiny: Tiny,
    scratch: TempDir,
}

/// On the training cache, with its model.
pub fn evaluation() -> Evaluation {
    Evaluation { model: model(), cache: None, precision: None }
}

impl Bench {
    pub fn new() -> Self {
        Self::of(Tiny::new())
    }

    pub fn of(tiny: Tiny) -> Self {
        Self { tiny, scratch: tempfile::tempdir().unwrap() }
    }

    pub fn out(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    pub fn course(&self, name: &str, tokens: u64) -> Course {
        Course {
            batch: 16,
            learning_rate: 1e-2,
            mix_rows: 40,
            ..Course::new(self.tiny.cache(), self.out(name), tokens)
        }
    }

    pub fn settings(&self, name: &str, architecture: Architecture) -> TrainSettings {
        TrainSettings::new(self.course(name, 16 * 60), SITE.parse().unwrap(), architecture, WIDTH)
    }

    pub fn finetuning(&self, name: &str, sae: PathBuf) -> FinetuneSettings {
        FinetuneSettings {
            course: Course { learning_rate: 1e-3, ..self.course(name, 16 * 100) },
            sae,
            site: None,
            coefficients: Coefficients { l1: Some(0.05), ..Coefficients::default() },
        }
    }

    /// An evaluation of an SAE on the cache.
    pub fn evaluation(&self, sae: PathBuf) -> RunSettings {
        RunSettings::new(model(), self.tiny.cache(), vec![sae])
    }

    /// The output of `evaluate train` on the cache, on stdout and stderr; the SAE goes to a folder of this name.
    pub fn train(&self, name: &str, options: &str) -> String {
        let line = format!("train --site {SITE} --width {WIDTH} --tokens 640 --batch 16 --mix-rows 40 {options}");
        let (stdout, stderr) = self.evaluate(&line, &[("--out", &self.out(name))]);
        format!("{stdout}\n{stderr}")
    }

    /// The output of `evaluate run` of an SAE on the cache.
    pub fn run(&self, name: &str, options: &str) -> (String, String) {
        self.evaluate(&format!("run {options}"), &[("--model", &model()), ("--sae", &self.out(name))])
    }

    pub fn evaluate(&self, line: &str, paths: &[(&str, &Path)]) -> (String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evaluate"));
        command.args(line.split_whitespace()).arg("--cache").arg(self.tiny.cache());
        for (flag, path) in paths {
            command.arg(flag).arg(path);
        }
        let output = command.output().unwrap();
        let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(output.status.success(), "{command:?}\n{stderr}");
        (stdout, stderr)
    }

    /// The `cfg.json` of a saved SAE.
    pub fn config(&self, name: &str) -> Value {
        json(&self.out(name).join("cfg.json"))
    }
}

pub fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).unwrap()
}

/// The metadata of a saved SAE.
pub fn metadata(out: &Path) -> Value {
    json(&out.join("cfg.json"))["metadata"].clone()
}

pub fn records(out: &Path) -> Vec<TrainingRecord> {
    let text = std::fs::read_to_string(out.join("training.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub fn trained(settings: &TrainSettings) -> TrainingSummary {
    train(settings, Progress::Silent).unwrap_or_else(|error| panic!("{error}"))
}

pub fn refused(settings: &TrainSettings) -> TrainError {
    train(settings, Progress::Silent).unwrap_err()
}

/// One of each architecture.
pub fn architectures() -> Vec<Architecture> {
    let jumprelu = |penalty| Architecture::JumpRelu { l0: 0.05, penalty, bandwidth: 0.05, initial_threshold: 0.01 };
    vec![
        STANDARD,
        Architecture::TopK { k: 6, auxiliary: 1.0 },
        Architecture::BatchTopK { k: 6.5, auxiliary: 1.0 },
        jumprelu(Penalty::L0),
        jumprelu(Penalty::Tanh { scale: 4.0 }),
        Architecture::Gated { l1: 0.05 },
    ]
}
