//! Warnings: settings of an SAE that the cache contradicts, thresholds that no training set, omissions of a report.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tch::Tensor;
use tempfile::TempDir;

use crate::support::sae_fixtures;
use crate::support::tiny::{Tiny, model, sae};

/// Standard output and standard error of the program, which must succeed.
fn evaluate(arguments: &[&str]) -> (String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evaluate"));
    let output = command.args(arguments).env_remove("RUST_LOG").output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, talk) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{arguments:?}: {talk}");
    (out, talk)
}

/// A copy of the tiny SAE that a test may change.
struct PatchedRun {
    folder: TempDir,
}

impl PatchedRun {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["cfg.json", "sae_weights.safetensors"] {
            std::fs::copy(sae().join(name), folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    fn path(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    fn config(&self, edit: impl FnOnce(&mut Value)) {
        let path = self.folder.path().join("cfg.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        edit(&mut config);
        std::fs::write(path, config.to_string()).unwrap();
    }

    fn add(&self, name: &str, tensor: Tensor) {
        let path = self.folder.path().join("sae_weights.safetensors");
        let mut tensors = Tensor::read_safetensors(&path).unwrap();
        tensors.push((name.to_owned(), tensor));
        Tensor::write_safetensors(&tensors, path).unwrap();
    }
}

/// The warnings of an evaluation of an SAE on a cache in two sections.
fn warnings(cache: &Path, sae: &str, more: &[&str]) -> Vec<String> {
    let cache = cache.to_str().unwrap();
    let arguments = ["run", "--cache", cache, "--sae", sae, "--section", "rollout", "--section", "all"];
    let (_, talk) = evaluate(&[&arguments, more].concat());
    talk.lines().filter(|line| line.contains("WARN")).map(str::to_owned).collect()
}

#[test]
fn a_cache_that_differs_from_the_training_data_is_reported() {
    let (tiny, model) = (Tiny::new(), model());
    let model = ["--model", model.to_str().unwrap()];
    // The cache: BOS before each sequence, contexts of 64.
    for (metadata, more, expected) in [
        (json!({}), vec![], None),
        (
            json!({"prepend_bos": false}),
            vec![],
            Some("without BOS (prepend_bos false), and the cache has 6 BOS tokens in 6 sequences. --exclude bos"),
        ),
        (
            json!({"prepend_bos": false}),
            vec!["--exclude", "bos"],
            Some("--exclude bos leaves its rows out; the rows after it"),
        ),
        (
            json!({"context_size": 16}),
            vec![],
            Some("contexts of 16 tokens (context_size), and the cache's are of up to 64"),
        ),
        (json!({"context_size": 1024}), vec![], Some("contexts of 1024 tokens")),
        (json!({"context_size": null}), vec![], None),
        (json!({"context_size": -1}), vec![], None),
        (
            json!({"exclude_special_tokens": true}),
            vec![],
            Some(
                "without special tokens (exclude_special_tokens), and the figures on activations count them here: --exclude special",
            ),
        ),
        (json!({"exclude_special_tokens": false}), vec![], None),
        (json!({"exclude_special_tokens": [0]}), vec![], Some("--exclude bos leaves them out")),
        (json!({"exclude_special_tokens": [0]}), vec!["--exclude", "bos"], None),
        (json!({"exclude_special_tokens": [0, 7]}), vec!["--exclude", "bos"], Some("the special tokens 0, 7")),
        (
            json!({"seqpos_slice": [5, -5]}),
            vec![],
            Some("on the positions [5:-5] of each sequence (seqpos_slice), and the figures are over all 64"),
        ),
        (json!({"seqpos_slice": [null, 20]}), vec![], Some("positions [:20]")),
        (json!({"seqpos_slice": [0, null, 2]}), vec![], Some("positions [0::2]")),
        (json!({"seqpos_slice": [null]}), vec![], None),
        (json!({"seqpos_slice": [0, 64]}), vec![], None),
        (json!({"seqpos_slice": null, "dataset_trust_remote_code": true}), vec![], None),
    ] {
        let changed = PatchedRun::new();
        changed.config(|config| {
            config["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
        });
        let found = warnings(&tiny.cache(), changed.path(), &more);
        match expected {
            None => assert!(found.is_empty(), "{metadata}, {more:?}: {found:?}"),
            Some(words) => {
                assert!(matches!(&found[..], [one] if one.contains(words)), "{metadata}, {more:?}: {found:?}");
            }
        }
    }
    // A flat configuration has these fields at the top level; SAEs spliced together each get a warning.
    let flat = PatchedRun::new();
    flat.config(|config| {
        let metadata = config.as_object_mut().unwrap().remove("metadata").unwrap();
        config.as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
        config["context_size"] = 32.into();
        config["exclude_special_tokens"] = true.into();
        config["seqpos_slice"] = json!([1, null]);
    });
    assert_eq!(warnings(&tiny.cache(), flat.path(), &[]).len(), 3);
    assert_eq!(warnings(&tiny.cache(), flat.path(), &[&model[..], &["--splice-together"]].concat()).len(), 3);
    let unreadable = PatchedRun::new();
    unreadable.config(|config| config["metadata"]["seqpos_slice"] = "(None,)".into());
    let refused = hayloft_sae::SaeFile::open(unreadable.folder.path()).unwrap_err().to_string();
    assert!(refused.contains("seqpos_slice: expected up to three whole numbers or nulls"), "{refused}");
}

#[test]
fn a_cache_without_bos_is_reported_for_an_sae_trained_with_it() {
    let tiny = Tiny::of(vec![vec![5, 9, 12, 7, 30, 41], vec![8, 4, 4, 19, 6]]);
    let changed = PatchedRun::new();
    let found = warnings(&tiny.cache(), changed.path(), &[]);
    assert!(
        matches!(&found[..], [one] if one.contains("begin with BOS") && one.contains("0 BOS tokens in 2")),
        "{found:?}"
    );
    changed.config(|config| config["metadata"]["prepend_bos"] = false.into());
    assert!(warnings(&tiny.cache(), changed.path(), &[]).is_empty());
}

#[test]
fn a_buffer_of_dictionary_learning_says_what_was_trained_on() {
    let folder = tempfile::tempdir().unwrap();
    let from = sae_fixtures().parent().unwrap().join("sae-formats/dictionary-learning-auto-encoder");
    for name in ["ae.pt", "config.json"] {
        std::fs::copy(from.join(name), folder.path().join(name)).unwrap();
    }
    let path = folder.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["buffer"] = json!({"ctx_len": 128, "remove_bos": true, "n_ctxs": 3000, "io": "out"});
    std::fs::write(path, config.to_string()).unwrap();
    let out = folder.path().join("converted");
    let (shown, _) = evaluate(&["inspect", folder.path().to_str().unwrap()]);
    assert!(shown.contains("128 tokens") && shown.contains("trained without") && shown.contains("BOS"), "{shown}");
    // The conversion keeps this information.
    evaluate(&["convert", folder.path().to_str().unwrap(), "--out", out.to_str().unwrap()]);
    let (shown, _) = evaluate(&["inspect", out.to_str().unwrap()]);
    assert!(shown.contains("128 tokens") && shown.contains("trained without"), "{shown}");
}

#[test]
fn what_an_sae_was_trained_on_is_kept_by_a_conversion() {
    let changed = PatchedRun::new();
    changed.config(|config| {
        for (key, value) in [("seqpos_slice", json!([2, -3])), ("exclude_special_tokens", json!([0, 7]))] {
            config["metadata"][key] = value;
        }
    });
    let out: PathBuf = changed.folder.path().join("converted");
    evaluate(&["convert", changed.path(), "--out", out.to_str().unwrap()]);
    let (before, after) = [changed.folder.path(), &out]
        .map(|folder| hayloft_sae::SaeFile::open(folder).unwrap().conventions().clone())
        .into();
    assert_eq!(before, after);
    assert_eq!(after.context_size, Some(64));
}

#[test]
fn a_threshold_that_was_never_set_is_reported_by_every_command() {
    let tiny = Tiny::new();
    for (threshold, words) in [(-1.0_f32, "threshold of -1"), (0.0, "threshold of 0"), (0.25, "")] {
        let batch = PatchedRun::new();
        batch.config(|config| {
            config["architecture"] = "batchtopk".into();
            config["k"] = 8.into();
        });
        batch.add("topk_threshold", Tensor::from(threshold));
        let out = batch.folder.path().join("converted");
        let run = warnings(&tiny.cache(), batch.path(), &[]);
        let (shown, _) = evaluate(&["inspect", batch.path()]);
        let (_, converting) = evaluate(&["convert", batch.path(), "--out", out.to_str().unwrap()]);
        // The converted one is a JumpReLU with that threshold for every latent.
        let again = warnings(&tiny.cache(), out.to_str().unwrap(), &[]);
        if words.is_empty() {
            assert!(run.is_empty() && again.is_empty() && !shown.contains("remark"), "{run:?} {again:?} {shown}");
            continue;
        }
        for told in [run.join("\n"), shown, converting, again.join("\n")] {
            assert!(told.contains(words) && told.contains("plain ReLU"), "{told}");
        }
        assert_eq!((run.len(), again.len()), (1, 1));
    }
}
