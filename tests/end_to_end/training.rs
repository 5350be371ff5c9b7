//! Training that is killed.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::small_model::SmallModel;
use crate::support::program::{kill, program, refuse, succeed};

/// Checkpoints that are whole.
fn checkpoints(out: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(out.join("checkpoint")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.to_string_lossy().contains("/step-")).collect()
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

fn training(cache: &Path, out: &Path, options: &str) -> Command {
    let line = format!(
        "train --site blocks.1.hook_resid_pre --width 64 --batch 64 --tokens 25600 --mix-rows 500 --threads 1 \
         --checkpoint-every 25 --dead-after 20 --warm-up 10 --decay 100 {options}"
    );
    program("evaluate", &line, &[("--cache", cache), ("--out", out)])
}

#[test]
fn a_training_killed_at_any_time_resumes_to_the_same_weights() {
    let small = SmallModel::new();
    let cache = small.folder("cache");
    succeed(&mut small.harvest("", &cache));
    for (name, options) in [
        ("standard", "--architecture standard --l1 0.1 --sparsity-warm-up 100"),
        ("batchtopk", "--architecture batchtopk --k 8"),
    ] {
        let (whole, killed) = (small.folder(&format!("{name}-whole")), small.folder(&format!("{name}-killed")));
        succeed(&mut training(&cache, &whole, options));
        // Just before a checkpoint gets its name: the first, one after another, and one later on.
        for step in [25, 50, 200] {
            let mut run = training(&cache, &killed, &format!("{options} --resume"));
            kill(&mut run, &format!("rename checkpoint/step-{step:09}"));
            let whole: Vec<String> = checkpoints(&killed).iter().map(|path| name_of(path)).collect();
            let expected = if step == 25 { Vec::new() } else { vec![format!("step-{:09}", step - 25)] };
            assert_eq!(whole, expected, "{name}");
        }
        succeed(&mut training(&cache, &killed, &format!("{options} --resume")));
        for file in ["sae_weights.safetensors", "cfg.json", "training.json", "training.jsonl"] {
            let read = |folder: &Path| std::fs::read(folder.join(file)).unwrap();
            assert!(read(&whole) == read(&killed), "{name}: {file} differs");
        }
    }
}

#[test]
fn a_training_is_not_overwritten_nor_resumed_with_other_settings() {
    let small = SmallModel::new();
    let (cache, out) = (small.folder("cache"), small.folder("sae"));
    succeed(&mut small.harvest("", &cache));
    let options = "--architecture topk --k 8";
    let printed = succeed(&mut training(&cache, &out, &format!("{options} --json")));
    let summary: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(summary["last"]["step"], 400);
    let message = refuse(&mut training(&cache, &out, options));
    assert!(message.contains("--resume"), "{message}");
    let message = refuse(&mut training(&cache, &out, "--architecture topk --k 9 --resume"));
    assert!(message.contains("architecture: expected") && message.contains("\"k\":8"), "{message}");
    succeed(&mut training(&cache, &out, &format!("{options} --resume")));
}
