//! Conversations compared with an independent script on transformers, tokenizers and numpy: sections of every token,
//! and rendered chat templates. `scripts/goldens/sections.py` makes the goldens. `scripts/check shared-data` compares
//! the study's conversations, which may not be redistributed.

use hayloft_store::Section;
use serde_json::{Value, json};

use crate::support::conversations::{check_rendered, check_sections, mistral, section_golden};
use crate::support::fixture;
use crate::support::program::{program, succeed};

#[test]
fn sections_of_conversations_are_those_of_the_rule_token_by_token() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("conversations.toml");
    let text = format!(
        "name = \"conversations\"\npacking = \"per-document\"\ncontext_length = 2048\n\n[chat]\ntemplate = \"mistral\"\n\n\
         [[files]]\npath = \"{}\"\n",
        fixture("sections/conversations.jsonl").display()
    );
    std::fs::write(&manifest, text).unwrap();
    let compared = check_sections(&manifest, "conversations-mistral.json");
    println!("the sections of {compared} conversations are those of the rule");
    assert!(compared >= 20, "{compared}");
}

#[test]
fn templates_are_rendered_as_by_transformers() {
    let mut compared = 0;
    for case in section_golden("templates.json").as_array().unwrap() {
        let template = match case["folder"].as_str() {
            None => case["template"].clone(),
            Some(folder) => {
                let config = std::fs::read(fixture(folder).join("tokenizer_config.json")).unwrap();
                serde_json::from_slice::<Value>(&config).unwrap()["chat_template"].clone()
            }
        };
        compared += check_rendered(case, &template);
    }
    println!("{compared} prompts are those of transformers");
    assert_eq!(compared, 25);
}

/// The sections of a sequence, from the tokens of the messages of each role.
fn sections(tokens_of: &Value, length: usize) -> Vec<Section> {
    let mut sections = vec![Section::Control; length];
    let tokens = |role: &str| -> Vec<usize> {
        tokens_of[role].as_array().unwrap().iter().map(|token| token.as_u64().unwrap() as usize).collect()
    };
    for (role, section) in [("system", Section::System), ("user", Section::UserPrompt)] {
        for token in tokens(role) {
            sections[token] = section;
        }
    }
    for token in tokens("assistant") {
        (sections[token - 1], sections[token]) = (Section::Rollout, Section::Rollout);
    }
    sections[length - 2..].fill(Section::Final);
    sections[0] = Section::Bos;
    sections
}

#[test]
fn turns_are_those_of_transformers() {
    let mut compared = 0;
    for case in section_golden("turns.json").as_array().unwrap() {
        let (model, folder) = (mistral(), tempfile::tempdir().unwrap());
        let config = json!({"bos_token": "<s>", "eos_token": "</s>", "chat_template": case["template"]});
        std::fs::write(model.path().join("tokenizer_config.json"), config.to_string()).unwrap();
        let rows = case["rows"].as_array().unwrap();
        let lines: String = rows.iter().map(|row| json!({"messages": row["messages"]}).to_string() + "\n").collect();
        std::fs::write(folder.path().join("rows.jsonl"), lines).unwrap();
        let manifest = folder.path().join("data.toml");
        let text = "name = \"turns\"\npacking = \"per-document\"\ncontext_length = 512\n[chat]\n\
                    messages_field = \"messages\"\n[[files]]\npath = \"rows.jsonl\"\n";
        std::fs::write(&manifest, text).unwrap();
        let cache = folder.path().join("cache");
        succeed(&mut program(
            "harvest",
            "plan",
            &[("--model", model.path()), ("--data", manifest.as_path()), ("--out", cache.as_path())],
        ));
        let (planned, tokens) = hayloft_store::PlanReader::open(&cache).unwrap().sequences_and_tokens(0).unwrap();
        assert_eq!(planned.len(), rows.len());
        for sequence in planned {
            let (row, start) = (&rows[sequence.id as usize], sequence.first_row as usize);
            let range = start..start + sequence.length as usize;
            let label = format!("{}, row {}", case["name"], sequence.id);
            assert_eq!(json!(tokens.token[range.clone()]), row["ids"], "{label}");
            assert_eq!(tokens.section[range.clone()], sections(&row["tokens_of"], range.len()), "{label}");
            compared += 1;
        }
    }
    assert_eq!(compared, 10);
}
