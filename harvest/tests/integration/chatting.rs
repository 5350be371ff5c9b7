//! Conversations: what a plan makes of them, and one test for each way they can be bad.

use hayloft_harvest::{ChatSummary, HarvestError, PlanSummary, plan};
use hayloft_runtime::Progress;
use hayloft_store::{PlanReader, Section};
use serde_json::json;

use crate::checkpoint::{Farm, harvest};
use crate::rows::{rollouts_file, rollouts_file_of_format};

/// Its soi is BOS and one token, its eoi two; a reply ends with `wind`.
const TEMPLATE: &str = "{{ bos_token }}cow {{ messages[0].content | trim }} owl{% if add_generation_prompt %} moon {% endif %}\
     {% if messages[1] %} moon {{ messages[1].content }} wind{% endif %}";

const KEYS: &str = "packing = \"per-document\"\ncontext_length = 12";

fn farm(template: &str, rows: &[(&str, &str)]) -> Farm {
    let farm = Farm::new();
    let config = json!({"bos_token": "<s>", "eos_token": "wind", "chat_template": template});
    farm.write("model/tokenizer_config.json", config.to_string());
    let lines = rows
        .iter()
        .map(|(instruction, rollout)| json!({"instruction": instruction, "rollout": rollout}).to_string() + "\n");
    farm.write("hay.jsonl", lines.collect::<String>());
    chat(&farm, "");
    farm
}

/// Writes the data manifest with these keys of `[chat]`.
fn chat(farm: &Farm, keys: &str) {
    farm.manifest(&format!("{KEYS}\n[chat]\n{keys}"));
}

fn planned(farm: &Farm) -> PlanSummary {
    plan(&farm.plan_settings(), Progress::Silent).unwrap()
}

fn refusal(farm: &Farm) -> String {
    let error = plan(&farm.plan_settings(), Progress::Silent).unwrap_err();
    assert!(!farm.cache().join("plan.json").exists());
    error.to_string()
}

/// The tokens of each planned sequence, and the first letters of their sections.
fn sequences(farm: &Farm) -> Vec<(Vec<u32>, String)> {
    let reader = PlanReader::open(&farm.cache()).unwrap();
    let mut found = Vec::new();
    for shard in 0..reader.plan().shards.len() {
        let (sequences, tokens) = reader.sequences_and_tokens(shard).unwrap();
        for sequence in sequences {
            let rows = sequence.first_row as usize..(sequence.first_row + u64::from(sequence.length)) as usize;
            let letters = tokens.section[rows.clone()].iter().map(|section| section.as_str().chars().next().unwrap());
            found.push((sequence.id, tokens.token[rows].to_vec(), letters.collect()));
        }
    }
    found.sort();
    found.into_iter().map(|(_, tokens, letters)| (tokens, letters)).collect()
}

#[test]
fn every_token_has_its_section_and_the_plan_its_record() {
    let farm = farm(TEMPLATE, &[("hay loft", "barn field sun wind rain wind"), (" barn ", "sun")]);
    let summary = planned(&farm);
    assert_eq!(
        sequences(&farm),
        [(vec![1, 6, 2, 3, 7, 8, 4, 5, 10], "bcuucrrff".to_owned()), (vec![1, 6, 4, 7, 8, 10], "bcucff".to_owned()),]
    );
    assert_eq!(summary.chat, Some(ChatSummary { unended_rollouts: 1, ..ChatSummary::default() }));
    assert_eq!(summary.sections[&Section::Rollout], 2);
    let reader = PlanReader::open(&farm.cache()).unwrap();
    let record = reader.plan().corpus.chat.clone().unwrap();
    assert_eq!((record.template.as_str(), record.template_source.as_str()), ("checkpoint", TEMPLATE));
    assert_eq!(record.template_blake3, blake3::hash(TEMPLATE.as_bytes()).to_hex().to_string());
    assert_eq!((record.end_of_turn, record.drop_last_character), (vec!["wind".to_owned()], false));
}

#[test]
fn a_harvest_runs_on_conversations_as_on_text() {
    let farm = farm(TEMPLATE, &[("hay loft", "barn field sun wind"), ("barn", "sun rain")]);
    let summary = harvest(&farm.run_settings());
    assert_eq!((summary.planned_shards, summary.complete_shards), (1, 1));
    assert_eq!(summary.sites[0].rows, 9 + 7);
}

#[test]
fn sections_stay_right_where_the_instruction_holds_the_templates_tokens() {
    let farm = farm(TEMPLATE, &[("cow owl moon <s> wind owl moon", "sun rain wind")]);
    planned(&farm);
    assert_eq!(
        sequences(&farm),
        [(vec![1, 6, 6, 7, 8, 1, 11, 7, 8, 7, 8, 10, 9][..12].to_vec(), "bcuuuuuuucff".to_owned())]
    );
}

#[test]
fn an_empty_rollout_leaves_the_prompt() {
    let farm = farm(TEMPLATE, &[("hay loft", ""), ("hay loft", "wind sun")]);
    let summary = planned(&farm);
    let prompt = (vec![1, 6, 2, 3, 7, 8], "bcuuff".to_owned());
    assert_eq!(sequences(&farm), [prompt.clone(), prompt]);
    assert_eq!(summary.chat, Some(ChatSummary { empty_rollouts: 2, unended_rollouts: 1, ..ChatSummary::default() }));
}

#[test]
fn a_rollout_beyond_the_context_is_cut_and_counted() {
    let farm = farm(TEMPLATE, &[("hay loft", "sun sun sun sun sun sun sun sun sun wind")]);
    let summary = planned(&farm);
    assert_eq!(summary.dropped_tokens, 3);
    assert_eq!(sequences(&farm)[0].1, "bcuucrrrrrff");
}

#[test]
fn a_prompt_longer_than_the_context_is_named_or_skipped() {
    let long = ["hay"; 8].join(" ");
    let farm = farm(TEMPLATE, &[("hay", "sun wind"), (&long, "sun wind"), ("  ", "sun wind")]);
    let message = refusal(&farm);
    assert!(message.contains("hay.toml: row 1 of its files"), "{message}");
    assert!(
        message.contains("12 tokens, expected fewer than the 12") && message.contains("unusable_rows"),
        "{message}"
    );
    chat(&farm, "unusable_rows = \"skip\"");
    let summary = planned(&farm);
    assert_eq!((summary.sequences, summary.chat.unwrap().skipped_rows), (1, 2));
}

#[test]
fn an_empty_instruction_is_named() {
    let message = refusal(&farm(TEMPLATE, &[(" \n", "sun wind")]));
    assert!(message.contains("row 0") && message.contains("instruction is empty"), "{message}");
}

#[test]
fn templates_that_cannot_be_used() {
    for (template, words) in [
        ("{{ raise_exception('Never!') }}", "Never!"),
        ("{{ messages[0].content", "the chat template fails"),
        ("{% for n in range(9999) %}{% for m in range(9999) %}{% endfor %}{% endfor %}", "fuel"),
        ("{{ strftime_now('%Y') }}{{ messages[0].content }}", "strftime_now"),
        ("cow moon", "leaves the instruction out or changes it"),
        ("{{ messages[0].content | upper }}", "leaves the instruction out or changes it"),
        ("{{ messages[0].content | replace('i', '') }}", "leaves the instruction out or changes it"),
        ("{{ messages[0].content }} {{ messages[0].content }}", "repeats the instruction"),
        ("{{ messages[0].content | length }} {{ messages[0].content }}", "something else around one instruction"),
        ("{{ messages[0].content }}{% if 'loft' in messages[0].content %}!{% endif %}", "for \"hay loft\""),
        ("{{ messages[0].content | replace('hay', 'cow') }}", "for \"hay loft\""),
    ] {
        let message = refusal(&farm(template, &[("hay loft", "sun wind")]));
        assert!(message.contains(words), "{template}: {message}");
        assert!(message.contains("tokenizer_config.json"), "{message}");
    }
}

#[test]
fn no_template_names_the_others() {
    let farm = farm(TEMPLATE, &[("hay", "sun")]);
    farm.write("model/tokenizer_config.json", "{\"bos_token\": \"<s>\"}");
    let message = refusal(&farm);
    assert!(message.contains("chat_template.jinja") && message.contains("\"mistral\""), "{message}");
    chat(&farm, "template = \"mistral\"\nend_of_turn = \"wind\"");
    planned(&farm);
    // [INST] and [/INST] are no words of the vocabulary.
    assert_eq!(sequences(&farm), [(vec![1, 0, 2, 0, 10], "bcuff".to_owned())]);
}

#[test]
fn a_file_goes_before_the_configuration_and_default_before_other_names() {
    let farm = farm("cow {{ messages[0].content }} owl ", &[("hay", "sun wind")]);
    let named = json!([{"name": "tools", "template": "no"}, {"name": "default", "template": "rain {{ messages[0].content }} "}]);
    let config = json!({"bos_token": "<s>", "eos_token": "wind", "chat_template": named});
    farm.write("model/tokenizer_config.json", config.to_string());
    planned(&farm);
    assert_eq!(sequences(&farm)[0].0, [1, 9, 2, 10]);
    std::fs::remove_dir_all(farm.cache()).unwrap();
    farm.write("model/chat_template.jinja", "moon {{ messages[0].content }} ");
    planned(&farm);
    assert_eq!(sequences(&farm)[0].0, [1, 8, 2, 10]);
}

#[test]
fn a_templates_bos_that_is_not_the_sequences() {
    let farm = farm(TEMPLATE, &[("hay", "sun wind")]);
    farm.manifest(&format!("{KEYS}\nbos = \"rain\"\n[chat]\n"));
    let message = refusal(&farm);
    assert!(message.contains("begins with \"<s>\"") && message.contains("\"rain\""), "{message}");
}

#[test]
fn a_bos_that_the_template_spells_out_is_not_doubled() {
    let farm = farm("<s> cow {{ messages[0].content }} owl ", &[("<s> hay", "sun wind")]);
    farm.write(
        "model/tokenizer_config.json",
        json!({"chat_template": "<s> cow {{ messages[0].content }} owl "}).to_string(),
    );
    farm.manifest(&format!("{KEYS}\nbos = \"<s>\"\n[chat]\nend_of_turn = \"wind\""));
    planned(&farm);
    assert_eq!(sequences(&farm), [(vec![1, 6, 1, 2, 7, 10], "bcuuff".to_owned())]);
}

#[test]
fn the_studys_quirk_is_off_unless_asked_for() {
    let farm = farm(TEMPLATE, &[("hay", "sun sunx"), ("hay", "sun sunx wind")]);
    planned(&farm);
    assert_eq!(sequences(&farm)[0].0, [1, 6, 2, 7, 8, 10, 0]);
    std::fs::remove_dir_all(farm.cache()).unwrap();
    chat(&farm, "study_quirk_drop_last_character = true");
    planned(&farm);
    assert_eq!(sequences(&farm)[0].0, [1, 6, 2, 7, 8, 10, 10]);
    assert_eq!(sequences(&farm)[1].0, [1, 6, 2, 7, 8, 10, 0]);
}

#[test]
fn another_template_or_selection_is_another_plan() {
    let farm = farm(TEMPLATE, &[("hay loft", "barn field sun wind"), ("barn", "sun rain")]);
    planned(&farm);
    for (keys, setting) in
        [("[chat]\nend_of_turn = \"sun\"", "[chat]"), ("[chat]\n[selection]\nfirst = 1", "[selection]")]
    {
        farm.manifest(&format!("{KEYS}\n{keys}"));
        let error = hayloft_harvest::run(&farm.run_settings(), Progress::Silent).unwrap_err();
        assert!(matches!(&error, HarvestError::PlanDiffers { setting: got, .. } if got == setting), "{error}");
    }
}

#[test]
fn keys_that_do_not_go_together() {
    let farm = farm(TEMPLATE, &[("hay", "sun")]);
    for (keys, words) in [
        ("packing = \"concat\"\ncontext_length = 8\n[chat]", "packing: expected \"per-document\""),
        (&format!("{KEYS}\ntext_field = \"text\"\n[chat]"), "text_field: expected none with [chat]"),
        (&format!("{KEYS}\nseed = 1\n[chat]"), "shuffle_seed in [selection]"),
        (&format!("{KEYS}\n[chat]\ntemplate = \"llama\""), "unknown variant `llama`"),
        (&format!("{KEYS}\n[chat]\ntempalte = \"qwen\""), "unknown field `tempalte`"),
        (&format!("{KEYS}\n[selection]\nfirst = 0"), "selection.first: expected at least 1"),
        (&format!("{KEYS}\n[selection]\nrows = [1, 1]"), "selection.rows: expected at least one row, and each once"),
        (&format!("{KEYS}\n[selection]\nrows = [1]\nshuffle_seed = 2"), "selection.rows: expected no shuffle_seed"),
        (&format!("{KEYS}\nseed = 3\n[selection]\nshuffle_seed = 2"), "seed: expected none with an order"),
    ] {
        farm.manifest(keys);
        let message = refusal(&farm);
        assert!(message.contains(words), "{keys}: {message}");
    }
}

#[test]
fn token_ids_of_a_rollouts_file_are_taken_as_they_are() {
    let farm = farm(TEMPLATE, &[]);
    let tokenizer = hayloft_model::Tokenizer::open(&farm.path("model")).unwrap().blake3().to_owned();
    let template = blake3::hash(TEMPLATE.as_bytes()).to_hex().to_string();
    let manifest = format!("name = \"hay\"\n{KEYS}\n[chat]\n[[files]]\npath = \"hay.parquet\"\n");
    farm.write("hay.toml", manifest);
    // The text says one thing, the ids another: they are not made from it again.
    let rows = [("hay loft", "sun", vec![4, 5, 5], "stop"), ("hay", "sun", vec![9, 9, 11, 3], "length")];
    rollouts_file(&farm.path("hay.parquet"), &rows, &tokenizer, &template);
    let summary = planned(&farm);
    assert_eq!(
        sequences(&farm),
        [(vec![1, 6, 2, 3, 7, 8, 4, 5, 5], "bcuucrrff".to_owned()), (vec![1, 6, 2, 7, 8, 9, 9], "bcucrff".to_owned()),]
    );
    assert_eq!(summary.chat.unwrap().unended_rollouts, 0);
    std::fs::remove_dir_all(farm.cache()).unwrap();

    rollouts_file(&farm.path("hay.parquet"), &rows, &"0".repeat(64), &template);
    let message = refusal(&farm);
    assert!(message.contains("hay.parquet: BLAKE3 of tokenizer.json: expected"), "{message}");
    rollouts_file(&farm.path("hay.parquet"), &rows, &tokenizer, &"0".repeat(64));
    let message = refusal(&farm);
    assert!(message.contains("BLAKE3 of the chat template"), "{message}");
    rollouts_file_of_format(2, &farm.path("hay.parquet"), &rows, &tokenizer, &template);
    let message = refusal(&farm);
    assert!(message.contains("hay.parquet: format: expected 1, got 2. ") && message.contains("again"), "{message}");
    rollouts_file(&farm.path("hay.parquet"), &[("hay", "sun", vec![4], "tired")], &tokenizer, &template);
    let message = refusal(&farm);
    assert!(message.contains("hay.parquet, row 0: expected stop, length or context"), "{message}");
}

#[test]
fn shown_sequences_have_a_line_for_each_run() {
    let farm = farm(TEMPLATE, &[("hay loft", "barn field sun wind"), ("barn", "sun rain")]);
    planned(&farm);
    let shown = hayloft_harvest::show_sequences(&farm.cache(), &farm.model(), 1).unwrap();
    assert_eq!(
        shown,
        "sequence 0 from row 0, 9 tokens\n  bos             1  <s>\n  control         1  cow\n  user_prompt     2  hay·loft\n  \
         control         1  owl\n  rollout         2  moon·barn\n  final           2  field·sun\n"
    );
}

/// Rows of messages as JSON, in place of instructions.
fn messages(farm: &Farm, rows: &[serde_json::Value], field: &str) {
    farm.write("hay.jsonl", rows.iter().map(|row| json!({ field: row }).to_string() + "\n").collect::<String>());
    chat(farm, &format!("messages_field = \"{field}\""));
}

const TURNS: &str = "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}cow {{ m.content | trim }} owl moon \
     {% elif m.role == 'system' %}field {{ m.content }} {% else %}{{ m.content }} wind {% endif %}{% endfor %}";

#[test]
fn one_turn_of_messages_is_an_instruction_and_its_rollout() {
    let first = farm(TEMPLATE, &[("hay loft", "barn field sun"), (" barn ", "")]);
    planned(&first);
    for (field, keys) in [("messages", ["role", "content"]), ("conversations", ["from", "value"])] {
        let second = farm(TEMPLATE, &[]);
        let row =
            |user: &str, reply: &str| json!([{keys[0]: "user", keys[1]: user}, {keys[0]: "assistant", keys[1]: reply}]);
        messages(&second, &[row("hay loft", "barn field sun"), row(" barn ", "")], field);
        let summary = planned(&second);
        assert_eq!(sequences(&second), sequences(&first));
        assert_eq!(summary.chat, Some(ChatSummary { empty_rollouts: 1, ..ChatSummary::default() }));
    }
}

#[test]
fn every_turn_has_its_sections_and_its_number() {
    let farm = farm(TURNS, &[]);
    let row = json!([
        {"role": "system", "content": "rain"},
        {"role": "user", "content": "hay loft"},
        {"role": "assistant", "content": "barn field"},
        {"role": "user", "content": " sun "},
        {"role": "assistant", "content": "rain sun rain"},
    ]);
    messages(&farm, &[row], "messages");
    farm.manifest(&format!("{}\n[chat]\nmessages_field = \"messages\"", KEYS.replace("12", "20")));
    planned(&farm);
    let reader = PlanReader::open(&farm.cache()).unwrap();
    let (_, tokens) = reader.sequences_and_tokens(0).unwrap();
    // <s> field RAIN cow HAY LOFT owl moon BARN FIELD wind cow SUN owl moon RAIN SUN RAIN
    assert_eq!(sequences(&farm)[0].1, "bcscuucrrrccucrrff");
    assert_eq!(tokens.turn, [[0; 10].as_slice(), &[1; 8]].concat());
    assert_eq!(reader.plan().corpus.chat.as_ref().unwrap().messages_field.as_deref(), Some("messages"));
}

#[test]
fn prompts_and_completions_of_messages_are_read() {
    let first = farm(TEMPLATE, &[("hay loft", "barn field sun")]);
    planned(&first);
    let second = farm(TEMPLATE, &[]);
    let row = json!({
        "prompt": [{"role": "user", "content": "hay loft"}],
        "completion": [{"role": "assistant", "content": "barn field sun"}],
    });
    second.write("hay.jsonl", row.to_string());
    chat(&second, "instruction_field = \"prompt\"\nrollout_field = \"completion\"");
    planned(&second);
    assert_eq!(sequences(&second), sequences(&first));
}

#[test]
fn messages_that_a_template_leaves_out_or_changes_are_refused() {
    let turns = |system: &str| json!([{"role": "system", "content": system}, {"role": "user", "content": "hay"}, {"role": "assistant", "content": "sun"}]);
    for (template, words) in [
        ("{{ bos_token }}cow {{ messages[-1].content }} owl moon ", "leaves out message"),
        (&*TURNS.replace("field {{ m.content }}", "field {{ m.content | upper }}"), "changes a message"),
        (&*TURNS.replace("field {{ m.content }}", "field {{ m.content }} {{ m.content }}"), "repeats message 0"),
        (
            &*TURNS.replace("field {{ m.content }}", "field {{ m.content | replace('rain', 'sun') }}"),
            "changes itself or the message",
        ),
    ] {
        let farm = farm(template, &[]);
        messages(&farm, &[turns("rain")], "messages");
        let message = refusal(&farm);
        assert!(message.contains(words), "{words}: {message}");
    }
    let farm = farm(TURNS, &[]);
    messages(&farm, &[turns("rain")], "messages");
    farm.manifest(&format!("{KEYS}\n[chat]\nmessages_field = \"messages\"\ntemplate = \"qwen\""));
    assert!(refusal(&farm).contains("expected one user message before the reply, got 2"));
}
