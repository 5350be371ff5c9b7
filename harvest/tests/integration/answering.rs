//! Rollouts: what is in the file, going on after an interruption, and one test for each way it can be bad.

use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use hayloft_harvest::{RolloutError, RolloutRow, RolloutSettings, RolloutSummary, plan, read_rollouts, rollouts};
use hayloft_model::{FinishReason, Sampling};
use hayloft_runtime::{Part, Progress};
use hayloft_store::{Existing, PlanReader};
use serde_json::json;

use crate::checkpoint::Farm;

const TEMPLATE: &str = "{{ bos_token }}cow {{ messages[0].content | trim }} owl{% if add_generation_prompt %} moon {% endif %}\
     {% if messages[1] %} moon {{ messages[1].content }} wind{% endif %}";
const BOS: u32 = 1;
const WIND: u32 = 11;
const CONTEXT: usize = 32;
const INSTRUCTIONS: [&str; 9] = [
    "hay",
    "hay loft",
    "barn field sun rain",
    "moon",
    "sun sun sun",
    "loft rain",
    "owl",
    "field field hay barn sun rain",
    "rain",
];

/// A chat model on a farm, with instructions.
fn farm(instructions: &[&str]) -> Farm {
    let farm = Farm::new();
    let config = json!({"bos_token": "<s>", "eos_token": "wind", "chat_template": TEMPLATE});
    farm.write("model/tokenizer_config.json", config.to_string());
    ask(&farm, instructions);
    farm.manifest("packing = \"per-document\"\ncontext_length = 32\n[chat]");
    farm
}

fn ask(farm: &Farm, instructions: &[&str]) {
    let lines = instructions.iter().map(|instruction| json!({"instruction": instruction}).to_string() + "\n");
    farm.write("hay.jsonl", lines.collect::<String>());
}

/// Sampled, three or so prompts to a batch.
fn settings(farm: &Farm) -> RolloutSettings {
    RolloutSettings {
        model: farm.model(),
        data: farm.path("hay.toml"),
        data_root: None,
        out: farm.path("rollouts.parquet"),
        max_new_tokens: NonZeroUsize::new(10).unwrap(),
        sampling: Sampling::Random { temperature: 1.5, top_p: 0.95, seed: 3 },
        stop: Vec::new(),
        batch_tokens: NonZeroUsize::new(48).unwrap(),
        precision: None,
        device: tch::Device::Cpu,
        limit: None,
        existing: Existing::Refuse,
        part: None,
    }
}

fn run(settings: &RolloutSettings) -> RolloutSummary {
    rollouts(settings, Progress::Silent).unwrap()
}

fn refusal(settings: &RolloutSettings) -> String {
    rollouts(settings, Progress::Silent).unwrap_err().to_string()
}

fn rows(settings: &RolloutSettings) -> Vec<RolloutRow> {
    read_rollouts(&settings.out).unwrap().1
}

fn parts(settings: &RolloutSettings) -> PathBuf {
    settings.out.with_extension("parquet.parts")
}

#[test]
fn the_file_holds_instructions_and_rollouts() {
    let farm = farm(&INSTRUCTIONS);
    let settings = settings(&farm);
    let summary = run(&settings);
    let (record, rows) = read_rollouts(&settings.out).unwrap();
    assert_eq!((record.stop_token_ids, record.end_of_turn), (vec![WIND], vec!["wind".to_owned()]));
    assert_eq!((record.template.as_str(), record.max_new_tokens, record.context_length), ("checkpoint", 10, CONTEXT));
    assert_eq!(record.template_blake3, blake3::hash(TEMPLATE.as_bytes()).to_hex().to_string());
    assert_eq!(rows.len(), INSTRUCTIONS.len());
    for ((row, instruction), number) in rows.iter().zip(INSTRUCTIONS).zip(0..) {
        assert_eq!((row.row, row.instruction.as_str()), (number, instruction));
        assert_eq!(row.prompt, format!("cow {instruction} owl moon "));
        assert_eq!(row.prompt_token_ids[0], BOS);
        assert_eq!(row.prompt_token_ids.len(), 4 + instruction.split(' ').count());
        assert_eq!(row.rollout.split_whitespace().count(), row.rollout_token_ids.iter().filter(|id| **id > 1).count());
        assert!(!row.rollout_token_ids.contains(&WIND));
        assert_eq!(row.finish_reason == FinishReason::Length, row.rollout_token_ids.len() == 10);
    }
    let ended = rows.iter().filter(|row| row.finish_reason == FinishReason::Stop).count() as u64;
    assert!(ended > 0 && ended < 9, "{rows:?}");
    assert_eq!((summary.rows, summary.ended, summary.cut_at_limit), (9, ended, 9 - ended));
    assert_eq!(summary.tokens, rows.iter().map(|row| row.rollout_token_ids.len() as u64).sum::<u64>());
    assert_eq!((summary.made_rows, summary.made_tokens), (9, summary.tokens + ended));
    assert!(!parts(&settings).exists());
    let text = summary.to_string();
    assert!(text.contains("rollouts  9 in ") && text.contains("cow hay owl moon ▸"), "{text}");
}

#[test]
fn generation_config_is_applied_and_recorded_and_a_run_with_another_is_not_resumed() {
    let farm = farm(&INSTRUCTIONS);
    let plain = RolloutSettings { out: farm.path("plain.parquet"), ..settings(&farm) };
    run(&plain);
    assert!(read_rollouts(&plain.out).unwrap().0.logits_processors.is_empty());
    let said: Vec<u32> = rows(&plain).into_iter().flat_map(|row| row.rollout_token_ids).collect();
    farm.write(
        "model/generation_config.json",
        json!({"suppress_tokens": [said[0]], "no_repeat_ngram_size": 2}).to_string(),
    );
    let made = settings(&farm);
    run(&made);
    let (record, changed) = read_rollouts(&made.out).unwrap();
    assert_eq!(record.logits_processors.suppress_tokens, [said[0]]);
    assert_eq!(record.logits_processors.no_repeat_ngram_size, Some(2));
    assert_ne!(changed, rows(&plain));
    for row in &changed {
        assert!(!row.rollout_token_ids.contains(&said[0]), "{row:?}");
        let tokens = [row.prompt_token_ids.as_slice(), &row.rollout_token_ids].concat();
        let new = row.prompt_token_ids.len() - 1..tokens.len() - 1;
        for start in new {
            let pair = &tokens[start..start + 2];
            assert!(!tokens[..=start].windows(2).any(|before| before == pair), "{row:?}");
        }
    }
    // Not by the batches.
    let batch_tokens = NonZeroUsize::new(4096).unwrap();
    let whole = RolloutSettings { out: farm.path("whole.parquet"), batch_tokens, ..settings(&farm) };
    run(&whole);
    assert_eq!(rows(&whole), changed);
    let resumed = RolloutSettings { existing: Existing::Resume, ..settings(&farm) };
    assert_eq!(run(&resumed).made_rows, 0);
    farm.write("model/generation_config.json", "{}");
    let message = refusal(&resumed);
    assert!(message.contains("logits_processors") && message.contains("rollouts.parquet"), "{message}");
    farm.write("model/generation_config.json", json!({"num_beams": 4}).to_string());
    let message = refusal(&RolloutSettings { out: farm.path("beams.parquet"), ..settings(&farm) });
    assert!(message.contains("generation_config.json") && message.contains("num_beams is 4"), "{message}");
}

#[test]
fn generated_tokens_are_harvested_unchanged() {
    let farm = farm(&INSTRUCTIONS);
    let settings = settings(&farm);
    run(&settings);
    farm.write(
        "hay.toml",
        "name = \"hay\"\npacking = \"per-document\"\ncontext_length = 32\n[chat]\n[[files]]\npath = \"rollouts.parquet\"\n",
    );
    plan(&farm.plan_settings(), Progress::Silent).unwrap();
    let reader = PlanReader::open(&farm.cache()).unwrap();
    let mut planned = Vec::new();
    for shard in 0..reader.plan().shards.len() {
        let (sequences, tokens) = reader.sequences_and_tokens(shard).unwrap();
        planned.extend(sequences.iter().map(|sequence| {
            let start = sequence.first_row as usize;
            (sequence.id, tokens.token[start..start + sequence.length as usize].to_vec())
        }));
    }
    planned.sort();
    let generated = rows(&settings).into_iter().map(|row| [row.prompt_token_ids, row.rollout_token_ids].concat());
    assert_eq!(planned.into_iter().map(|(_, tokens)| tokens).collect::<Vec<_>>(), generated.collect::<Vec<_>>());
}

/// Several turns and a system message: the prompt goes up to the last message of the user, and is read back whole.
#[test]
fn conversations_are_answered_after_the_last_user_turn_and_harvested_whole() {
    const TURNS: &str = "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}cow {{ m.content }} owl moon \
         {% elif m.role == 'system' %}field {{ m.content }} {% else %}{{ m.content }} wind {% endif %}{% endfor %}";
    let farm = farm(&[]);
    let config = json!({"bos_token": "<s>", "eos_token": "wind", "chat_template": TURNS});
    farm.write("model/tokenizer_config.json", config.to_string());
    let turn = |role: &str, content: &str| json!({"role": role, "content": content});
    let rows_of_messages = [
        json!([turn("system", "rain"), turn("user", "hay loft"), turn("assistant", "barn"), turn("user", "sun")]),
        json!([turn("user", "hay"), turn("assistant", "barn barn")]),
    ];
    let lines = rows_of_messages.iter().map(|row| json!({"messages": row}).to_string() + "\n");
    farm.write("hay.jsonl", lines.collect::<String>());
    farm.manifest("packing = \"per-document\"\ncontext_length = 32\n[chat]\nmessages_field = \"messages\"");
    let settings = settings(&farm);
    run(&settings);
    let made = rows(&settings);
    assert_eq!(
        [made[0].prompt.as_str(), &made[1].prompt],
        ["field rain cow hay loft owl moon barn wind cow sun owl moon ", "cow hay owl moon "]
    );
    assert_eq!([made[0].instruction.as_str(), &made[1].instruction], ["sun", "hay"]);
    assert_eq!((made[0].messages.len(), made[1].messages.len()), (4, 0));
    let resumed = RolloutSettings { existing: Existing::Resume, ..settings.clone() };
    assert_eq!(run(&resumed).made_rows, 0);

    let keys = "name = \"hay\"\npacking = \"per-document\"\ncontext_length = 32\n";
    farm.write("hay.toml", format!("{keys}[chat]\n[[files]]\npath = \"rollouts.parquet\"\n"));
    plan(&farm.plan_settings(), Progress::Silent).unwrap();
    let (sequences, tokens) = PlanReader::open(&farm.cache()).unwrap().sequences_and_tokens(0).unwrap();
    assert_eq!(sequences.len(), 2);
    for sequence in &sequences {
        let row = &made[sequence.id as usize];
        let start = sequence.first_row as usize;
        let planned = &tokens.token[start..start + sequence.length as usize];
        assert_eq!(planned, [row.prompt_token_ids.as_slice(), &row.rollout_token_ids].concat());
    }
    let read = format!("{keys}[chat]\nmessages_field = \"messages\"\n[[files]]\npath = \"rollouts.parquet\"\n");
    farm.write("hay.toml", read);
    fs::remove_dir_all(farm.cache()).unwrap();
    let message = plan(&farm.plan_settings(), Progress::Silent).unwrap_err().to_string();
    assert!(message.contains("chat.messages_field: expected none for rollouts.parquet"), "{message}");
}

#[test]
fn batches_change_nothing() {
    let farm = farm(&INSTRUCTIONS);
    let small = settings(&farm);
    run(&small);
    for batch_tokens in [1, 100, 10_000] {
        let batch_tokens = NonZeroUsize::new(batch_tokens).unwrap();
        let out = farm.path(&format!("{batch_tokens}.parquet"));
        let other = RolloutSettings { out, batch_tokens, ..small.clone() };
        run(&other);
        assert_eq!(rows(&other), rows(&small));
    }
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_bytes() {
    let farm = farm(&INSTRUCTIONS);
    let undisturbed = settings(&farm);
    run(&undisturbed);
    // A part is a rollouts file of its batch, and the first batch is rows 0 and 1.
    let first = NonZeroUsize::new(2);
    let part = RolloutSettings { out: farm.path("part.parquet"), limit: first, ..undisturbed.clone() };
    run(&part);
    let resumed = RolloutSettings { out: farm.path("resumed.parquet"), ..undisturbed.clone() };
    fs::create_dir(parts(&resumed)).unwrap();
    fs::copy(&part.out, parts(&resumed).join("00000.parquet")).unwrap();
    let message = refusal(&resumed);
    assert!(
        message.contains("resumed.parquet.parts: expected nothing here") && message.contains("--resume"),
        "{message}"
    );
    // What a write that was cut off left behind is no part.
    fs::write(parts(&resumed).join(".abc.partial"), "half").unwrap();
    let resumed = RolloutSettings { existing: Existing::Resume, ..resumed };
    let summary = run(&resumed);
    assert_eq!((summary.rows, summary.made_rows), (9, 7));
    assert!(summary.to_string().contains("7 now; the others existed"), "{summary}");
    assert_eq!(fs::read(&resumed.out).unwrap(), fs::read(&undisturbed.out).unwrap());
    assert!(!parts(&resumed).exists());
    // Once finished, there is nothing to do.
    let again = run(&resumed);
    assert_eq!((again.rows, again.made_rows, again.first), (9, 0, summary.first));
}

#[test]
fn finished_rollouts_are_not_overwritten() {
    let farm = farm(&INSTRUCTIONS);
    let settings = settings(&farm);
    run(&settings);
    let message = refusal(&settings);
    assert!(message.contains("rollouts.parquet: expected nothing here") && message.contains("--out"), "{message}");
}

#[test]
fn a_run_with_other_settings_is_not_resumed() {
    let farm = farm(&INSTRUCTIONS);
    let first = settings(&farm);
    run(&first);
    let resumed = RolloutSettings { existing: Existing::Resume, ..first };
    let ten = NonZeroUsize::new(10);
    for (other, words) in [
        (
            RolloutSettings { sampling: Sampling::Greedy, ..resumed.clone() },
            "sampling: expected {\"method\":\"greedy\"}",
        ),
        (
            RolloutSettings { batch_tokens: ten.unwrap(), ..resumed.clone() },
            "batch_tokens: expected 10 as requested, got 48",
        ),
        (RolloutSettings { stop: vec!["sun".to_owned()], ..resumed.clone() }, "stop_token_ids: expected [10]"),
        (
            RolloutSettings { limit: NonZeroUsize::new(2), ..resumed.clone() },
            "number of rows: expected 2 as requested, got 9",
        ),
    ] {
        let message = refusal(&other);
        assert!(message.contains(words) && message.contains("rollouts.parquet"), "{message}");
    }
    ask(&farm, &["loft", "hay loft", "c", "d", "e", "f", "g", "h", "i"]);
    let message = refusal(&resumed);
    assert!(message.contains("prompt of row 0: expected \"cow loft owl moon \""), "{message}");
}

#[test]
fn a_share_without_a_batch_has_no_rates_and_names_the_folder_of_parts() {
    let farm = farm(&["hay loft"]);
    // The one batch is the second share's or the first's.
    let of = |index| RolloutSettings { part: Part::new(index, 2), ..settings(&farm) };
    let mut summaries = [run(&of(0)), run(&of(1))];
    summaries.sort_by_key(|summary| summary.rows);
    let [empty, full] = summaries;
    assert_eq!((empty.rows, empty.mean_tokens, empty.longest, empty.tokens_per_second), (0, None, None, None));
    assert_eq!(empty.to_string(), format!("rollouts  0 in {}", parts(&settings(&farm)).display()));
    assert_eq!((full.rows, full.mean_tokens), (1, Some(full.tokens as f64)));
    assert!(!settings(&farm).out.exists());
}

#[test]
fn a_damaged_part_is_named() {
    let farm = farm(&INSTRUCTIONS);
    let settings = RolloutSettings { existing: Existing::Resume, ..settings(&farm) };
    fs::create_dir(parts(&settings)).unwrap();
    fs::write(parts(&settings).join("00001.parquet"), "PAR1 and no more").unwrap();
    let message = refusal(&settings);
    assert!(message.contains("00001.parquet: not a whole rollouts file") && message.contains("remove it"), "{message}");
}

#[test]
fn a_rollout_is_cut_at_the_token_limit_or_where_the_context_is_full() {
    let farm = farm(&["hay loft"]);
    let unending = RolloutSettings { sampling: Sampling::Greedy, stop: vec!["<unk>".to_owned()], ..settings(&farm) };
    assert_eq!(run(&unending).cut_at_limit, 1);
    assert_eq!(rows(&unending)[0].rollout_token_ids.len(), 10);
    let out = farm.path("long.parquet");
    let long = RolloutSettings { out, max_new_tokens: NonZeroUsize::new(100).unwrap(), ..unending };
    let summary = run(&long);
    assert_eq!((summary.cut_at_limit, summary.cut_at_context), (0, 1));
    let row = rows(&long).remove(0);
    assert_eq!(row.prompt_token_ids.len() + row.rollout_token_ids.len(), CONTEXT);
    assert_eq!(row.finish_reason, FinishReason::Context);
}

#[test]
fn an_empty_rollout_is_kept_and_counted() {
    let farm = farm(&["hay loft"]);
    let greedy = RolloutSettings { sampling: Sampling::Greedy, stop: vec!["<unk>".to_owned()], ..settings(&farm) };
    run(&greedy);
    let first_word = rows(&greedy)[0].rollout.split(' ').next().unwrap().to_owned();
    let empty = RolloutSettings { out: farm.path("empty.parquet"), stop: vec![first_word], ..greedy };
    let summary = run(&empty);
    assert_eq!((summary.rows, summary.empty, summary.ended, summary.made_tokens), (1, 1, 1, 1));
    let row = rows(&empty).remove(0);
    assert_eq!((row.rollout.as_str(), row.rollout_token_ids.len(), row.finish_reason), ("", 0, FinishReason::Stop));
}

#[test]
fn a_prompt_longer_than_the_context_is_named_or_skipped() {
    let long = ["hay"; 40].join(" ");
    let farm = farm(&["hay", &long, "loft"]);
    let settings = settings(&farm);
    let message = refusal(&settings);
    assert!(message.contains("hay.toml: row 1 of its files"), "{message}");
    assert!(
        message.contains("44 tokens, expected fewer than the 32") && message.contains("unusable_rows"),
        "{message}"
    );
    farm.manifest("packing = \"per-document\"\ncontext_length = 32\n[chat]\nunusable_rows = \"skip\"");
    let summary = run(&settings);
    assert_eq!((summary.rows, summary.skipped_rows), (2, 1));
    assert_eq!(rows(&settings).iter().map(|row| row.row).collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn invalid_settings_are_refused() {
    let farm = farm(&["hay"]);
    let good = settings(&farm);
    let message = refusal(&RolloutSettings { stop: vec!["<|im_end|>".to_owned()], ..good.clone() });
    assert!(
        message.contains("--stop names the token \"<|im_end|>\"") && message.contains("tokenizer.json"),
        "{message}"
    );
    let message = refusal(&RolloutSettings { out: farm.path("rollouts.jsonl"), ..good.clone() });
    assert!(message.contains("a name that ends in .parquet"), "{message}");
    let sampling = Sampling::Random { temperature: -1.0, top_p: 1.0, seed: 0 };
    let message = refusal(&RolloutSettings { sampling, ..good.clone() });
    assert!(message.contains("temperature: expected a number above 0, got -1"), "{message}");
    let message = refusal(&RolloutSettings { model: farm.path("nowhere"), ..good.clone() });
    assert!(message.contains("nowhere") && message.contains("config.json"), "{message}");
    farm.manifest("packing = \"per-document\"\ncontext_length = 32");
    let error = rollouts(&good, Progress::Silent).unwrap_err();
    assert!(matches!(error, RolloutError::NotChat { .. }), "{error}");
    assert!(!good.out.exists() && !parts(&good).exists());
}
