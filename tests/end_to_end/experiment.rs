//! The transfer experiment of the demo, on less data: rollouts, caches, SAEs of both models on both, fine-tuning,
//! report.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::program::{program, refuse, succeed};

const SITE: &str = "blocks.3.hook_resid_pre";
const OUTLIERS: &str = "--outlier-norm 20";
const SECTIONS: &str = "--section rollout --section user_prompt --section all";

fn demo(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo").join(part)
}

/// The demo's text manifest with fewer tokens.
fn write_text_manifest(folder: &Path, part: &str) -> PathBuf {
    let path = folder.join(format!("{part}.toml"));
    let text = format!(
        "name = \"{part}\"\npacking = \"concat\"\ncontext_length = 128\nsubset_field = \"meta.pile_set_name\"\n\
         max_tokens = 4096\n[[files]]\npath = '{}'\n",
        demo(&format!("text/{part}.jsonl.zst")).display()
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn harvest(model: &str, data: &Path, root: Option<&Path>, out: &Path) {
    let (line, model) = (format!("run --site {SITE}"), demo(model));
    let mut paths = vec![("--model", model.as_path()), ("--data", data), ("--out", out)];
    paths.extend(root.map(|root| ("--data-root", root)));
    succeed(&mut program("harvest", &line, &paths));
}

fn evaluate(model: &str, cache: &Path, saes: &[&Path], options: &str, out: &Path) {
    let model = demo(model);
    let mut paths = vec![("--model", model.as_path()), ("--cache", cache), ("--out", out)];
    paths.extend(saes.iter().map(|sae| ("--sae", *sae)));
    succeed(&mut program("evaluate", &format!("run {options}"), &paths));
}

fn words<'row>(row: &'row Value, keys: [&str; 4]) -> [&'row str; 4] {
    keys.map(|key| row[key].as_str().unwrap_or_else(|| panic!("no {key} in {row}")))
}

#[test]
fn the_experiment_runs_from_rollouts_to_report() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path();
    let (base, chat, tuned) = (demo("saes/base"), demo("saes/chat"), out.join("saes/finetuned"));
    let saes = [base.as_path(), chat.as_path()];

    let asked = [
        ("--model", demo("chat")),
        ("--data", demo("experiment/instructions.toml")),
        ("--out", out.join("rollouts.parquet")),
    ];
    let asked: Vec<(&str, &Path)> = asked.iter().map(|(flag, path)| (*flag, path.as_path())).collect();
    succeed(&mut program("harvest", "rollouts --limit 16 --max-new-tokens 24", &asked));

    let (heldout, train) = (write_text_manifest(out, "heldout"), write_text_manifest(out, "train"));
    for model in ["base", "chat"] {
        harvest(model, &heldout, None, &out.join(format!("caches/pile-{model}")));
        let conversations = demo("experiment/conversations.toml");
        harvest(model, &conversations, Some(out), &out.join(format!("caches/alpaca-{model}")));
    }
    harvest("chat", &train, None, &out.join("caches/train-chat"));
    // Both models read the same conversations, token for token.
    let tokens =
        |model: &str| std::fs::read(out.join(format!("caches/alpaca-{model}/plan/00000/tokens.parquet"))).unwrap();
    assert_eq!(tokens("base"), tokens("chat"));

    for model in ["base", "chat"] {
        let cache = |data: &str| out.join(format!("caches/{data}-{model}"));
        let results = |data: &str| out.join(format!("results/{data}-{model}"));
        evaluate(model, &cache("pile"), &saes, OUTLIERS, &results("pile"));
        evaluate(model, &cache("alpaca"), &saes, &format!("{OUTLIERS} {SECTIONS}"), &results("alpaca"));
    }
    let tuning = [
        ("--sae", base.clone()),
        ("--model", demo("chat")),
        ("--cache", out.join("caches/train-chat")),
        ("--evaluate-cache", out.join("caches/pile-chat")),
        ("--out", tuned.clone()),
    ];
    let tuning: Vec<(&str, &Path)> = tuning.iter().map(|(flag, path)| (*flag, path.as_path())).collect();
    let line = format!("finetune --tokens 16384 --batch 512 --learning-rate 1e-3 --log-every 8 --json {OUTLIERS}");
    let before_after: Value = serde_json::from_str(&succeed(&mut program("evaluate", &line, &tuning))).unwrap();
    let explained: Vec<f64> =
        before_after.as_array().unwrap().iter().map(|row| row["explained_variance"].as_f64().unwrap()).collect();
    assert!(explained[1] > explained[0], "fine-tuning on the chat model did not help: {explained:?}");
    let all_three = [base.as_path(), chat.as_path(), tuned.as_path()];
    let pile = out.join("caches/pile-chat");
    evaluate("chat", &pile, &all_three, "", &out.join("results/pile-chat-outliers"));
    evaluate("chat", &pile, &[&tuned], OUTLIERS, &out.join("results/pile-chat-finetuned"));
    let options = format!("{OUTLIERS} {SECTIONS}");
    evaluate("chat", &out.join("caches/alpaca-chat"), &[&tuned], &options, &out.join("results/alpaca-chat-finetuned"));

    std::fs::copy(demo("experiment/report.toml"), out.join("experiment.toml")).unwrap();
    let report = out.join("report");
    let paths = [("", out.join("experiment.toml")), ("--out", report.clone())];
    let paths: Vec<(&str, &Path)> = paths.iter().map(|(flag, path)| (*flag, path.as_path())).collect();
    succeed(&mut program("evaluate", "report", &paths));
    let summary = report.join("summary.json");
    let rows: Value = serde_json::from_slice(&std::fs::read(&summary).unwrap()).unwrap();
    let rows = rows["rows"].as_array().unwrap();
    let found: BTreeSet<[&str; 4]> =
        rows.iter().map(|row| words(row, ["dataset", "section", "sae", "model"])).collect();
    for model in ["base", "chat"] {
        for sae in ["base", "chat"] {
            assert!(found.contains(&["pile", "all", sae, model]), "{sae} on {model}: {found:?}");
            for section in ["all", "rollout", "user_prompt"] {
                assert!(found.contains(&["alpaca", section, sae, model]), "{section}, {sae} on {model}: {found:?}");
            }
        }
    }
    assert!(found.contains(&["pile", "all", "finetuned", "chat"]), "{found:?}");
    for row in rows {
        for column in ["l0", "ce_recovered", "ce_clean", "ce_sae", "ce_delta", "ce_zero", "explained_variance", "mse"] {
            assert!(row[column].is_f64(), "{column} is no figure in {row}");
        }
    }

    // A sweep over the demo's folder of SAEs is a run and a report of any SAEs.
    let sweep = out.join("sweep");
    let paths =
        [("--model", demo("chat")), ("--cache", pile.clone()), ("--sae", demo("saes")), ("--out", sweep.clone())];
    let paths: Vec<(&str, &Path)> = paths.iter().map(|(flag, path)| (*flag, path.as_path())).collect();
    let printed = succeed(&mut program("evaluate", "sweep --bootstrap=100 --kl", &paths));
    assert!(printed.lines().all(|line| line.chars().count() <= 80), "{printed}");
    let swept: Value = serde_json::from_slice(&std::fs::read(sweep.join("report/summary.json")).unwrap()).unwrap();
    let swept = swept["rows"].as_array().unwrap();
    let l0: Vec<f64> = swept.iter().map(|row| row["l0"].as_f64().unwrap()).collect();
    assert!(l0.len() == 2 && l0[0] <= l0[1], "{l0:?}");
    for kind in ["figures", "intervals", "differences", "divergences", "latents"] {
        assert!(sweep.join(format!("report/tables/heldout-all-kept-{kind}.csv")).is_file(), "{kind}: {printed}");
    }
    // It has the figures of the study's run on the same cache.
    let is_same =
        |row: &&Value| row["dataset"] == "pile" && row["model"] == "chat" && row["outliers_filtered"] == false;
    for row in swept {
        let same = rows.iter().filter(is_same).find(|other| other["sae"] == row["sae"]).unwrap();
        assert_eq!((&row["ce_sae"], &row["explained_variance"]), (&same["ce_sae"], &same["explained_variance"]));
    }

    // The measured figures agree with themselves, and a changed one does not.
    let compared = |expected: &Path| program("evaluate", "compare", &[("", expected), ("", &report)]);
    succeed(&mut compared(&summary));
    let digits = rows[0]["ce_sae"].to_string();
    let text = std::fs::read_to_string(&summary).unwrap();
    let changed = out.join("changed.json");
    std::fs::write(&changed, text.replacen(&digits, "99.5", 1)).unwrap();
    assert!(refuse(&mut compared(&changed)).contains("1 differ"), "a changed cell passed");
}
