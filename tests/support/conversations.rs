//! Conversations compared with goldens of `scripts/goldens/sections.py`.

use std::fmt::Write;
use std::path::Path;

use hayloft_harvest::{ChatTemplate, Role, TemplateChoice};
use hayloft_store::{Corpus, PlanReader, Section};
use serde_json::{Value, json};
use sha2::Digest;
use tempfile::TempDir;

use super::program::{program, succeed};
use super::{copy_folder, fixture};

/// A golden for sections.
pub fn section_golden(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(fixture("sections").join(name)).unwrap()).unwrap()
}

/// A folder with Mistral's tokenizer, and the configuration of a small model with its vocabulary size.
pub fn mistral() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&fixture("tokenizers/mistral-7b-instruct"), folder.path());
    let mut config: Value = serde_json::from_slice(&std::fs::read(fixture("tiny-llama/config.json")).unwrap()).unwrap();
    config["vocab_size"] = json!(32_000);
    config["max_position_embeddings"] = json!(2048);
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    folder
}

/// The plan of a data manifest for [`mistral`], in a folder that is removed with the value.
pub fn plan(manifest: &Path) -> (TempDir, PlanReader) {
    let (model, cache) = (mistral(), tempfile::tempdir().unwrap());
    let paths = [("--model", model.path()), ("--data", manifest), ("--out", cache.path())];
    succeed(&mut program("harvest", "plan", &paths));
    let plan = PlanReader::open(cache.path()).unwrap();
    (cache, plan)
}

/// Asserts that the conversations of a data manifest, planned for Mistral's tokenizer, have the tokens and the sections
/// of a golden. Returns their number.
pub fn check_sections(manifest: &Path, golden: &str) -> usize {
    let (_cache, plan) = plan(manifest);
    let Corpus { chat, .. } = &plan.plan().corpus;
    assert_eq!(chat.as_ref().unwrap().end_of_turn, ["</s>"]);
    let golden = section_golden(golden);
    let golden = golden.as_array().unwrap();
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
    assert_eq!(compared, golden.len());
    compared
}

/// Asserts that a chat template renders each instruction of a golden's case as transformers does. Returns their number.
pub fn check_rendered(case: &Value, template: &Value) -> usize {
    let name = case["name"].as_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = json!({ "chat_template": template, "bos_token": case["bos_token"], "eos_token": case["eos_token"] });
    std::fs::write(folder.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    let template = ChatTemplate::open(TemplateChoice::Checkpoint, folder.path()).unwrap();
    let cases = case["rendered"].as_array().unwrap();
    for rendered in cases {
        let (instruction, text) = (rendered["instruction"].as_str().unwrap(), rendered["text"].as_str().unwrap());
        let prompt = template.prompt(instruction).unwrap();
        assert_eq!(prompt.written_bos.unwrap_or_default() + &prompt.text, text, "{name}");
        let [(Role::User, held)] = prompt.messages.as_slice() else { panic!("{name}: expected one message") };
        assert_eq!(prompt.text[held.clone()].trim(), instruction.trim(), "{name}");
    }
    cases.len()
}

fn sha256(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in sha2::Sha256::digest(bytes) {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}
