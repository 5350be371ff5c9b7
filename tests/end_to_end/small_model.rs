//! All steps on the smallest fixture, which needs only this repository.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::program::{program, refuse, succeed};
use crate::support::{copy_folder, fixture};

/// The tiny model of the fixtures, and a data manifest for its text.
pub struct SmallModel {
    pub scratch: TempDir,
    pub model: PathBuf,
    pub data: PathBuf,
}

impl SmallModel {
    pub fn new() -> Self {
        let scratch = TempDir::new().unwrap();
        let data = scratch.path().join("text.toml");
        let text = fixture("tiny-llama/text.jsonl");
        let manifest = format!(
            "name = \"text\"\npacking = \"per-document\"\ncontext_length = 64\ntext_field = \"text\"\n\n[[files]]\npath = \"{}\"\n",
            text.display()
        );
        std::fs::write(&data, manifest).unwrap();
        Self { scratch, model: fixture("tiny-llama"), data }
    }

    pub fn folder(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// A `harvest run` of two sites into `cache`, in small shards.
    pub fn harvest(&self, options: &str, cache: &Path) -> std::process::Command {
        let line = format!(
            "run --site blocks.1.hook_resid_pre --site blocks.1.hook_resid_post --shard-tokens 256 --row-group-rows 128 {options}"
        );
        program("harvest", &line, &[("--model", &self.model), ("--data", &self.data), ("--out", cache)])
    }
}

#[test]
fn a_cache_is_made_inspected_and_verified_in_every_type_and_codec() {
    let small = SmallModel::new();
    for dtype in ["f32", "bf16", "f16"] {
        for codec in ["planes", "raw"] {
            let cache = small.folder(&format!("{dtype}-{codec}"));
            succeed(&mut small.harvest(&format!("--dtype {dtype} --codec {codec} --logits top=5"), &cache));
            let inspected: Value =
                serde_json::from_str(&succeed(&mut program("store", "inspect --json", &[("", &cache)]))).unwrap();
            assert!(inspected.to_string().contains("blocks.1.hook_resid_post"), "{inspected}");
            succeed(&mut program("store", "verify", &[("", &cache)]));
        }
    }
}

#[test]
fn the_same_harvest_twice_gives_the_same_bytes() {
    let small = SmallModel::new();
    let (first, second) = (small.folder("first"), small.folder("second"));
    succeed(&mut small.harvest("", &first));
    succeed(&mut small.harvest("", &second));
    crate::support::assert_same_files(&first, &second);
}

#[test]
fn shards_harvested_apart_are_the_shards_harvested_together() {
    let small = SmallModel::new();
    let (whole, apart) = (small.folder("whole"), small.folder("apart"));
    succeed(&mut small.harvest("", &whole));
    succeed(&mut small.harvest("--shards 1..3", &apart));
    succeed(&mut small.harvest("--resume", &apart));
    crate::support::assert_same_files(&whole, &apart);
}

#[test]
fn a_cache_of_another_model_is_refused() {
    let small = SmallModel::new();
    let cache = small.folder("cache");
    succeed(&mut small.harvest("", &cache));
    // The same shapes and other numbers: only the tensors differ.
    let other = small.folder("other");
    copy_folder(&small.model, &other);
    let weights = other.join("model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    let sae = fixture("tiny-llama/sae");
    let message = refuse(&mut program("evaluate", "run", &[("--model", &other), ("--cache", &cache), ("--sae", &sae)]));
    assert!(message.contains("another model") && message.contains("tensors: expected SHA-256"), "{message}");
    succeed(&mut program("evaluate", "run", &[("--model", &small.model), ("--cache", &cache), ("--sae", &sae)]));
}

#[test]
fn a_damaged_byte_never_becomes_a_figure() {
    let small = SmallModel::new();
    let cache = small.folder("cache");
    succeed(&mut small.harvest("", &cache));
    let file = cache.join("shards/00000/blocks.1.hook_resid_pre.parquet");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[200] ^= 0x10;
    std::fs::write(&file, bytes).unwrap();
    let message = refuse(&mut program("store", "verify", &[("", &cache)]));
    assert!(message.contains("not whole: 1 damage"), "{message}");
    let (model, sae) = (&small.model, fixture("tiny-llama/sae"));
    let message = refuse(&mut program("evaluate", "run", &[("--model", model), ("--cache", &cache), ("--sae", &sae)]));
    assert!(message.contains("blocks.1.hook_resid_pre.parquet"), "{message}");
}

/// Every key in results, at any depth.
fn keys(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                found.insert(key.clone());
                keys(value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

#[test]
fn results_are_written_in_every_form_and_every_field_is_documented() {
    let small = SmallModel::new();
    let (cache, out) = (small.folder("cache"), small.folder("results"));
    succeed(&mut small.harvest("", &cache));
    let (model, sae) = (&small.model, fixture("tiny-llama/sae"));
    let mut paths: Vec<(&str, &Path)> = vec![("--model", model), ("--cache", &cache), ("--sae", &sae), ("--out", &out)];
    let table = succeed(&mut program("evaluate", "run", &paths));
    assert!(
        table.contains("Zero") && table.contains("pooled %") && table.lines().all(|line| line.chars().count() <= 120),
        "{table}"
    );

    let written: Value = serde_json::from_slice(&std::fs::read(out.join("results.json")).unwrap()).unwrap();
    let own: Value = serde_json::from_slice(&std::fs::read(out.join("sae.all.json")).unwrap()).unwrap();
    assert_eq!(written[0], own);
    // Every position is ablated, the norm is an RMS norm and there are no biases: the prediction is uniform.
    let zero = own["ce_zero"].as_f64().unwrap();
    assert!((zero - 320_f64.ln()).abs() < 1e-5, "zero-ablation gives {zero}, expected ln 320");
    paths.pop();
    let printed: Value = serde_json::from_str(&succeed(&mut program("evaluate", "run --json", &paths))).unwrap();
    assert_eq!(printed, written, "a second run, on kept baselines, gives the same bits");

    let mut found = BTreeSet::new();
    keys(&written, &mut found);
    let documentation = include_str!("../../crates/results/RESULTS.md");
    let missing: Vec<&String> = found.iter().filter(|key| !documentation.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "RESULTS.md says nothing of {missing:?}");
    let csv = std::fs::read_to_string(out.join("results.csv")).unwrap();
    for column in csv.lines().next().unwrap().split(',') {
        assert!(documentation.contains(&format!("`{column}`")), "RESULTS.md says nothing of the column {column}");
    }
    assert!(std::fs::read_to_string(out.join("results.md")).unwrap().contains("| sae | all |"));
}
