//! Conversations against an independent script on transformers, tokenizers and numpy: sections of every token, and rendered
//! chat templates. The goldens are made by `scripts/goldens/sections.py`.

use std::fmt::Write;
use std::path::Path;

use hayloft_harvest::{ChatTemplate, TemplateChoice};
use hayloft_store::{Corpus, PlanReader, Section};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::program::{program, succeed};
use crate::support::{copy_folder, fixture, shared_data};

fn golden(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(fixture("sections").join(name)).unwrap()).unwrap()
}

/// A folder with a tokenizer, and the configuration of a small model that has room for its vocabulary.
fn checkpoint(tokenizer: &Path) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(tokenizer, folder.path());
    let mut config: Value = serde_json::from_slice(&std::fs::read(fixture("tiny-llama/config.json")).unwrap()).unwrap();
    config["vocab_size"] = json!(32_000);
    config["max_position_embeddings"] = json!(2048);
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    folder
}

#[test]
fn sections_of_the_studys_conversations_are_those_of_the_rule_token_by_token() {
    let Some(data) = shared_data() else { return };
    let model = checkpoint(&data.join("tokenizers/mistral-7b-instruct-tokenizer"));
    let cache = tempfile::tempdir().unwrap();
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data-manifests/alpaca-mistral-rollouts.toml");
    let paths = [("--model", model.path()), ("--data", &manifest), ("--out", cache.path())];
    succeed(&mut program("harvest", "plan", &paths));

    let plan = PlanReader::open(cache.path()).unwrap();
    let Corpus { chat, .. } = &plan.plan().corpus;
    assert_eq!(chat.as_ref().unwrap().end_of_turn, ["</s>"]);
    let golden = golden("rollouts-mistral.json");
    let golden = golden.as_array().unwrap();
    assert_eq!(golden.len(), 55);
    let mut compared = 0;
    for shard in 0..plan.plan().shards.len() {
        let (sequences, tokens) = plan.sequences_and_tokens(shard).unwrap();
        for sequence in sequences {
            let expected = &golden[sequence.id as usize];
            assert_eq!(sequence.document, sequence.id);
            let rows = sequence.first_row as usize..(sequence.first_row + u64::from(sequence.length)) as usize;
            let ids = &tokens.token[rows.clone()];
            assert_eq!(ids.len() as u64, expected["tokens"].as_u64().unwrap(), "row {}", sequence.id);
            let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
            assert_eq!(sha256(&bytes), expected["sha256"].as_str().unwrap(), "row {}", sequence.id);
            let expected: Vec<Section> = expected["sections"]
                .as_array()
                .unwrap()
                .iter()
                .flat_map(|run| {
                    let section = run[0].as_str().unwrap().parse().unwrap();
                    std::iter::repeat_n(section, run[1].as_u64().unwrap() as usize)
                })
                .collect();
            assert_eq!(tokens.section[rows], expected, "row {}", sequence.id);
            compared += 1;
        }
    }
    assert_eq!(compared, 55);
}

#[test]
fn templates_are_rendered_as_by_transformers() {
    let mut compared = 0;
    for case in golden("templates.json").as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let template = match case["folder"].as_str() {
            None => case["template"].clone(),
            Some(folder) => {
                let Some(data) = shared_data() else { continue };
                let config = std::fs::read(data.join(folder).join("tokenizer_config.json")).unwrap();
                serde_json::from_slice::<Value>(&config).unwrap()["chat_template"].clone()
            }
        };
        let folder = tempfile::tempdir().unwrap();
        let config = json!({
            "chat_template": template, "bos_token": case["bos_token"], "eos_token": case["eos_token"],
        });
        std::fs::write(folder.path().join("tokenizer_config.json"), config.to_string()).unwrap();
        let template = ChatTemplate::open(TemplateChoice::Checkpoint, folder.path()).unwrap();
        for rendered in case["rendered"].as_array().unwrap() {
            let (instruction, text) = (rendered["instruction"].as_str().unwrap(), rendered["text"].as_str().unwrap());
            let prompt = template.prompt(instruction).unwrap();
            assert_eq!(prompt.written_bos.unwrap_or_default() + &prompt.text, text, "{name}");
            assert_eq!(prompt.text[prompt.instruction].trim(), instruction.trim(), "{name}");
            compared += 1;
        }
    }
    println!("{compared} prompts are those of transformers");
    assert!(compared >= 20);
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    let mut text = String::new();
    for byte in sha2::Sha256::digest(bytes) {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}
