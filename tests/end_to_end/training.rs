//! Training that is killed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::small_model::SmallModel;
use crate::support::program::{program, refuse, succeed};

/// Checkpoints that are whole.
fn checkpoints(out: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(out.join("checkpoint")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.to_string_lossy().contains("/step-")).collect()
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
        ("topk", "--architecture topk --k 8 --exclude bos --scale auto --outlier-norm 1.2xmedian"),
    ] {
        let (whole, killed) = (small.folder(&format!("{name}-whole")), small.folder(&format!("{name}-killed")));
        succeed(&mut training(&cache, &whole, options));
        let mut kills = 0;
        while kills < 3 {
            let resumed = format!("{options} --resume");
            let mut run =
                training(&cache, &killed, &resumed).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let before = checkpoints(&killed);
            let finished = loop {
                if run.try_wait().unwrap().is_some() {
                    break true;
                }
                if checkpoints(&killed).iter().any(|checkpoint| !before.contains(checkpoint)) {
                    break false;
                }
                std::thread::sleep(Duration::from_millis(1));
            };
            if finished {
                break;
            }
            // SIGKILL: no handler, no destructor.
            run.kill().unwrap();
            run.wait().unwrap();
            kills += 1;
        }
        assert!(kills > 0, "{name} ended before it could be killed");
        succeed(&mut training(&cache, &killed, &format!("{options} --resume")));
        for file in ["sae_weights.safetensors", "cfg.json", "training.json", "training.jsonl"] {
            let read = |folder: &Path| std::fs::read(folder.join(file)).unwrap();
            assert!(read(&whole) == read(&killed), "{name}: {file} differs after {kills} kills");
        }
    }
}

#[test]
fn special_tokens_are_left_out_by_what_the_tokenizer_says() {
    let small = SmallModel::new();
    let cache = small.folder("cache");
    succeed(&mut small.harvest("", &cache));
    let options = "--architecture topk --k 8 --json --exclude special";
    let message = refuse(&mut training(&cache, &small.folder("refused"), options));
    assert!(message.contains("--tokenizer") && message.contains("--exclude bos"), "{message}");
    let rows = |name: &str, options: &str| {
        let mut command = training(&cache, &small.folder(name), options);
        let summary: Value = serde_json::from_str(&succeed(command.arg("--tokenizer").arg(&small.model))).unwrap();
        (summary["rows"].as_u64().unwrap(), summary["settings"]["excluded_tokens"].as_array().unwrap().len())
    };
    let (all, none) = rows("all", "--architecture topk --k 8 --json");
    let (without_bos, bos) = rows("bos", "--architecture topk --k 8 --json --exclude bos");
    let (kept, special) = rows("special", options);
    assert!(none == 0 && bos == 1 && special >= 1 && kept <= without_bos && without_bos < all, "{all} {without_bos} {kept}");
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
