//! Checks on data that may not be redistributed and is beside the project at `../shared/data`: the study's Alpaca
//! conversations, excerpts of The Pile, and Gemma's tokenizer configuration; and on released chat templates at
//! `../shared/released`. Run by `scripts/check shared-data`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a failing check names the place, and a passing one prints what it compared"
)]

#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use hayloft_harvest::{ChatTemplate, TemplateChoice};
use serde_json::Value;
use support::conversations::{check_rendered, check_sections, plan, section_golden};

const ALPACA: &str = "alpaca/rollouts-mistral.jsonl";
const PILE: &str = "pile/pile-excerpts.jsonl";
const RELEASED: &str = "../released/index.tsv";
const GEMMA: &str = "tokenizers/gemma-2b-it-tokenizer-config/tokenizer_config.json";

fn main() -> ExitCode {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let absent: Vec<PathBuf> = [ALPACA, PILE, GEMMA, RELEASED]
        .map(|name| data.join(name))
        .into_iter()
        .filter(|path| !path.is_file())
        .collect();
    for path in &absent {
        eprintln!(
            "error: {}: expected the file, got none. It may not be redistributed: put it there, or skip this check",
            path.display()
        );
    }
    if !absent.is_empty() {
        return ExitCode::FAILURE;
    }
    alpaca();
    gemma(&data.join(GEMMA));
    pile();
    templates(&data.join("../released/templates"));
    ExitCode::SUCCESS
}

fn manifest(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../data-manifests").join(name)
}

/// The study's conversations have the tokens and the sections that an independent program gives.
fn alpaca() {
    let compared = check_sections(&manifest("alpaca-mistral-rollouts.toml"), "rollouts-mistral.json");
    assert_eq!(compared, 55);
    println!("Alpaca: the sections of {compared} conversations are those of the rule, token by token");
}

/// Gemma's chat template is rendered as by transformers.
fn gemma(config: &Path) {
    let config: Value = serde_json::from_slice(&std::fs::read(config).unwrap()).unwrap();
    let case = section_golden("template-gemma.json");
    let compared = check_rendered(&case, &config["chat_template"]);
    assert_eq!(compared, 5);
    println!("Gemma: {compared} prompts are those of transformers");
}

/// The excerpts have the hash in their data manifest, and fill whole contexts.
fn pile() {
    let (_cache, plan) = plan(&manifest("pile-excerpts.toml"));
    let plan = plan.plan();
    assert_eq!(plan.corpus.data.documents, 700);
    let (mut sequences, mut tokens) = (0, 0);
    for shard in &plan.shards {
        sequences += shard.counts.sequences;
        tokens += shard.counts.tokens;
    }
    assert_eq!(tokens.div_ceil(512), sequences);
    println!("The Pile: 700 excerpts fill {sequences} contexts of 512, {tokens} tokens");
}

/// Released chat templates are rendered as by transformers, or refused.
fn templates(folder: &Path) {
    let (mut same, mut refused, mut beyond) = (0, Vec::new(), Vec::new());
    let mut paths: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|ending| ending == "jinja")) {
        let case: Value = serde_json::from_slice(&std::fs::read(path.with_extension("json")).unwrap()).unwrap();
        let checkpoint = tempfile::tempdir().unwrap();
        std::fs::copy(path, checkpoint.path().join("chat_template.jinja")).unwrap();
        std::fs::write(checkpoint.path().join("tokenizer_config.json"), case.to_string()).unwrap();
        let made = ChatTemplate::open(TemplateChoice::Checkpoint, checkpoint.path())
            .and_then(|template| template.prompt("What is hay?"));
        match (made, case["prompt"].as_str()) {
            (Ok(prompt), Some(expected)) => {
                assert_eq!(prompt.written_bos.unwrap_or_default() + &prompt.text, expected, "{}", path.display());
                same += 1;
            }
            (Ok(_), None) => beyond.push(path.file_stem().unwrap().to_owned()),
            (Err(error), _) => refused.push(format!("{}: {error}", path.file_stem().unwrap().display())),
        }
    }
    println!("templates: {same} prompts are those of transformers, {} are refused", refused.len());
    for refusal in &refused {
        println!("  {refusal}");
    }
    // They loop over the tools, of which there are none: minijinja makes no turn, transformers fails.
    let expected = ["nousresearch-hermes-2-pro-llama-3-8b", "nousresearch_hermes2_pro_tool_use"];
    assert_eq!(beyond, expected, "prompts where transformers makes none");
    assert!(same >= 40 && refused.len() <= 9, "{same}");
}
