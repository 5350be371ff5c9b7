//! Models and SAEs by their ids, from a Hub on loopback, against the same files in folders.

use std::path::{Path, PathBuf};
use std::process::Command;

use hayloft_hub::test_hub::{RemoteFile, TestHub};
use serde_json::Value;

use super::small_model::SmallModel;
use crate::support::fixture;
use crate::support::program::{program, refuse, succeed};

const SAE: &str = "gemma-2b-res-jb/blocks.0.hook_resid_post";
const SAE_REPOSITORY: &str = "jbloom/Gemma-2b-Residual-Stream-SAEs";
const SAE_PATH: &str = "gemma_2b_blocks.0.hook_resid_post_16384_anthropic";

/// The tiny model as `hay/tiny-llama`, its SAE as one of SAELens's registry, and a cache of the Hub.
struct Published {
    hub: TestHub,
    small: SmallModel,
    home: PathBuf,
}

impl Published {
    fn new() -> Self {
        let (hub, small) = (TestHub::start(Vec::new()), SmallModel::new());
        let model =
            files(&small.model, "", &["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]);
        hub.publish("hay/tiny-llama", model);
        let home = small.folder("home");
        let published = Self { hub, small, home };
        published.publish_sae(SAE_REPOSITORY, &[SAE_PATH, "gemma_2b_blocks.6.hook_resid_post_16384_anthropic_fast_lr"]);
        published
    }

    fn publish_sae(&self, repository: &str, paths: &[&str]) {
        let names = ["cfg.json", "sae_weights.safetensors"];
        let saes = paths.iter().flat_map(|path| files(&fixture("tiny-llama/sae"), &format!("{path}/"), &names));
        let others = paths.iter().map(|path| RemoteFile {
            name: format!("{path}/sparsity.safetensors"),
            bytes: Vec::new(),
            large: false,
        });
        self.hub.publish(repository, saes.chain(others).collect());
    }

    fn with_hub(&self, mut command: Command) -> Command {
        command.env("HF_ENDPOINT", &self.hub.hub).env("HF_HOME", &self.home);
        for name in ["HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN_PATH"] {
            command.env_remove(name);
        }
        command
    }

    fn run(&self, name: &str, line: &str, paths: &[(&str, &Path)]) -> Command {
        self.with_hub(program(name, line, paths))
    }
}

fn files(folder: &Path, before: &str, names: &[&str]) -> Vec<RemoteFile> {
    let file = |name: &&str| RemoteFile {
        name: format!("{before}{name}"),
        bytes: std::fs::read(folder.join(name)).unwrap(),
        large: name.ends_with(".safetensors"),
    };
    names.iter().map(file).collect()
}

/// Results without the SAE's name and folder.
fn figures(json: &str) -> Vec<Value> {
    let mut results: Vec<Value> = serde_json::from_str(json).unwrap();
    for result in &mut results {
        result["sae"] = Value::Null;
        result["provenance"]["sae"]["folder"] = Value::Null;
    }
    results
}

#[test]
fn ids_give_the_figures_of_folders() {
    let published = Published::new();
    let (by_id, by_folder) = (published.small.folder("by-id"), published.small.folder("by-folder"));
    let data: &[(&str, &Path)] = &[("--data", &published.small.data), ("--out", &by_id)];
    let line = "run --site blocks.1.hook_resid_pre --shard-tokens 256 --row-group-rows 128 --model";
    succeed(&mut published.run("harvest", &format!("{line} hay/tiny-llama@main"), data));
    let data: &[(&str, &Path)] =
        &[("", &published.small.model), ("--data", &published.small.data), ("--out", &by_folder)];
    succeed(&mut program("harvest", line, data));
    crate::support::assert_same_files(&by_id, &by_folder);

    let sae = fixture("tiny-llama/sae");
    let paths: &[(&str, &Path)] = &[("--cache", &by_folder), ("--model", &published.small.model), ("--sae", &sae)];
    let expected = figures(&succeed(&mut program("evaluate", "run --json", paths)));
    let id = format!("{SAE_REPOSITORY}/{SAE_PATH}");
    for named in [SAE, &format!("{id}@main"), &format!("{id}/sae_weights.safetensors")] {
        let line = format!("run --json --model hay/tiny-llama --sae {named}");
        let output = succeed(&mut published.run("evaluate", &line, &[("--cache", &by_id)]));
        assert_eq!(figures(&output), expected, "{named}");
    }
    let requests = published.hub.requests();
    let weights = requests.iter().filter(|request| request.server == "store").count();
    assert_eq!(weights, 2, "the model and the SAE are fetched once each");
    assert!(!requests.iter().any(|request| request.target.contains("sparsity")));
}

#[test]
fn a_pattern_names_saes_of_the_registry() {
    let published = Published::new();
    let inspect = |line: &str| published.run("evaluate", line, &[]);
    let output = succeed(&mut inspect("inspect --json gemma-2b-res-jb/blocks.[06].*"));
    let inspected: Vec<Value> = serde_json::from_str(&output).unwrap();
    let paths: Vec<&str> = inspected.iter().filter_map(|sae| sae["path"].as_str()).collect();
    assert!(paths.len() == 2 && paths[0].ends_with(SAE_PATH), "{paths:?}");
    let asked = published.hub.requests().iter().filter(|request| request.target.starts_with("/api/")).count();
    assert_eq!(asked, 1, "one listing for the repository");
    let message = refuse(&mut inspect("inspect gemma-scope-2b-pt-res/*"));
    assert!(
        message.contains("SAEs of SAELens's registry, more than 64") && message.contains("--most-saes"),
        "{message}"
    );
    let message = refuse(&mut inspect("inspect gemma-2b-res-jb/blocks.[06].* --most-saes 1"));
    assert!(message.contains("matches 2 SAEs"), "{message}");
    let message = refuse(&mut inspect("inspect gemma-2b-res-jp/*"));
    assert!(message.contains("expected a pattern that matches SAEs"), "{message}");
}

#[test]
fn what_the_registry_says_of_an_sae_is_applied() {
    let published = Published::new();
    published.publish_sae("JoshEngels/Mistral-7B-Residual-Stream-SAEs", &["mistral_7b_layer_8"]);
    published.publish_sae("jbloom/GPT2-Small-SAEs-Reformatted", &["blocks.8.hook_resid_pre"]);
    let inspect = |line: &str| -> Value {
        let output = succeed(&mut published.run("evaluate", &format!("inspect --json {line}"), &[]));
        serde_json::from_str(&output).unwrap()
    };
    let by_name = inspect("mistral-7b-res-wg/blocks.8.hook_resid_pre");
    assert_eq!(by_name["normalisation"], "constant_norm_rescale");
    assert!(by_name["remark"].as_str().unwrap().contains("as SAELens's registry (mistral-7b-res-wg"), "{by_name}");
    let by_id = inspect("JoshEngels/Mistral-7B-Residual-Stream-SAEs/mistral_7b_layer_8");
    assert_eq!(by_id, by_name);
    let without = inspect("mistral-7b-res-wg/blocks.8.hook_resid_pre --sae-normalise none");
    assert_eq!(without["normalisation"], "none");
    assert_eq!(inspect("gpt2-small-res-jb/blocks.8.hook_resid_pre")["center_writing_weights"], true);
    assert_eq!(inspect(SAE)["center_writing_weights"], false);
}

#[test]
fn what_is_nowhere_is_said_to_be() {
    let published = Published::new();
    let cache = published.small.folder("none");
    let ask = |line: &str| refuse(&mut published.run("evaluate", line, &[("--cache", &cache)]));
    let message = ask("run --model ./tiny --sae x/y");
    assert!(message.contains("./tiny: no such folder"), "{message}");
    let message = ask("run --sae saes/base");
    assert!(message.contains("saes/base: no such folder here") && message.contains("no such repository"), "{message}");
    let message = ask("run --sae ../saes/base");
    assert!(message.contains("../saes/base: no such folder. Name the folder of an SAE"), "{message}");
    let message = ask(&format!("run --sae {SAE_REPOSITORY}"));
    assert!(message.contains("2 SAEs below it"), "{message}");
    let message = ask(&format!("run --sae {SAE_REPOSITORY}/{SAE_PATH}x"));
    assert!(message.contains(&format!("Did you mean {SAE_PATH}?")), "{message}");
    let message = ask("run --sae gemma-2b-res-jb/blocks.1.hook_resid_post");
    assert!(message.contains("Did you mean blocks."), "{message}");
    let message = ask("run --sae temporal-sae-gemma-2-2b/blocks.12.hook_resid_post");
    assert!(message.contains("are not read"), "{message}");
    let mut offline = published.run("evaluate", &format!("run --sae {SAE}"), &[("--cache", &cache)]);
    let message = refuse(offline.env("HF_HUB_OFFLINE", "1"));
    assert!(message.contains("HF_HUB_OFFLINE") && message.contains("sae_weights.safetensors"), "{message}");
}
