//! Conversations compared with an independent script on transformers, tokenizers and numpy: sections of every token,
//! and rendered chat templates. `scripts/goldens/sections.py` makes the goldens. `scripts/check shared-data` compares
//! the study's conversations, which may not be redistributed.

use serde_json::Value;

use crate::support::conversations::{check_rendered, check_sections, section_golden};
use crate::support::fixture;

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
