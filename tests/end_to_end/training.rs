//! Trainings that are killed.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::small_model::SmallModel;
use crate::support::program::{kill, program, refuse, succeed};

/// Complete checkpoints.
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
        ("held-out", "--architecture batchtopk --k 8 --held-out 200 --held-out-every 15 --threshold held-out"),
        ("topk", "--architecture topk --k 8 --exclude bos --scale auto --outlier-norm 1.2xmedian"),
    ] {
        let (whole, killed) = (small.folder(&format!("{name}-whole")), small.folder(&format!("{name}-killed")));
        succeed(&mut training(&cache, &whole, options));
        // Just before a checkpoint gets its name: the first, the next, and a later one.
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
    assert!(
        none == 0 && bos == 1 && special >= 1 && kept <= without_bos && without_bos < all,
        "{all} {without_bos} {kept}"
    );
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

/// The last step's held-out figures.
fn held_out(out: &Path) -> Value {
    let log = std::fs::read_to_string(out.join("training.jsonl")).unwrap();
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    last["held_out"].clone()
}

#[test]
fn held_out_sequences_and_a_saved_sae_that_differs_from_the_log_are_reported() {
    let small = SmallModel::new();
    let (cache, held) = (small.folder("cache"), small.folder("held"));
    succeed(&mut small.harvest("", &cache));
    let trained = |name: &str, more: &str| {
        let out = small.folder(name);
        let line = format!(
            "train --site blocks.1.hook_resid_pre --width 64 --batch 64 --tokens 1920 --threads 1 --architecture batchtopk --k 8 {more}"
        );
        let output = program("evaluate", &line, &[("--cache", &cache), ("--out", &out)]).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        assert!(output.status.success(), "{stderr}");
        (out, stdout, stderr)
    };
    // Thirty steps bring the threshold a quarter of the way.
    let (_, stdout, stderr) = trained("plain", "");
    assert!(stderr.contains("where the log says 8.00") && stderr.contains("--threshold held-out"), "{stderr}");
    assert!(stdout.contains("unknown, as the training had 30"), "{stdout}");
    let (out, stdout, stderr) = trained("running", "--held-out 200 --held-out-every 10");
    assert!(stderr.contains("not trained on") && stderr.contains("step 10: saved now"), "{stderr}");
    assert!(stderr.contains("on the last batch and L0") && stderr.contains("on held-out rows"), "{stderr}");
    let summary: Value = serde_json::from_slice(&std::fs::read(out.join("training.json")).unwrap()).unwrap();
    let sequences = summary["held_out"]["sequences"].as_str().unwrap();
    assert!(stdout.contains(&format!("held out, sequences {sequences}, ")), "{stdout}");
    let select = format!("select --sequences {sequences}");
    succeed(&mut program("store", &select, &[("", &cache), ("--out", &held)]));
    let found = |out: &Path| -> Value {
        let results = succeed(&mut program("evaluate", "run --json", &[("--cache", &held), ("--sae", out)]));
        serde_json::from_str::<Value>(&results).unwrap()[0].clone()
    };
    let same = |out: &Path| {
        let (figures, found) = (held_out(out), found(out));
        for name in ["l0", "explained_variance", "explained_variance_pooled"] {
            let (got, expected) = (figures[name].as_f64().unwrap(), found[name].as_f64().unwrap());
            assert!((got - expected).abs() <= 1e-6 * expected.abs(), "{name}: {got} {expected}");
        }
        assert_eq!(figures["rows"], found["activation_rows"]);
    };
    same(&out);
    assert!(held_out(&out)["l0"].as_f64().unwrap() > 9.0);
    let (out, _, stderr) = trained("held-out", "--held-out 200 --held-out-every 10 --threshold held-out");
    assert!(!stderr.contains("has not converged"), "{stderr}");
    same(&out);
    assert!((held_out(&out)["l0"].as_f64().unwrap() - 8.0).abs() < 0.01);
}
