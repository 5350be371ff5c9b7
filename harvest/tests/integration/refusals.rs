//! What a run refuses: one test for each.

use std::fs;

use hayloft_harvest::{HarvestError, Logits, RunSettings, plan, run};
use hayloft_model::ModelError;
use hayloft_runtime::{Dtype, Progress};
use hayloft_store::{Codec, Existing, NonFinite, StoreError};

use crate::checkpoint::{BLOCKS, D_MODEL, Farm, config, harvest, weights};

fn refusal(settings: &RunSettings) -> HarvestError {
    run(settings, Progress::Silent).unwrap_err()
}

#[test]
fn existing_shards_without_resume() {
    let farm = Farm::new();
    harvest(&farm.run_settings());
    let message = refusal(&farm.run_settings()).to_string();
    assert!(message.contains("--resume"), "{message}");
}

#[test]
fn resume_with_another_model() {
    let farm = Farm::new();
    harvest(&RunSettings { shards: "0..1".parse().unwrap(), ..farm.run_settings() });
    farm.write("model/model.safetensors", weights(0.5));
    let error = refusal(&RunSettings { existing: Existing::Resume, ..farm.run_settings() });
    assert!(
        matches!(&error, HarvestError::Store(StoreError::Mismatch { field, .. }) if field == "model.tensors"),
        "{error}"
    );
}

#[test]
fn resume_with_other_settings() {
    let farm = Farm::new();
    let settings = RunSettings { shards: "0..1".parse().unwrap(), ..farm.run_settings() };
    harvest(&settings);
    let resume = RunSettings { existing: Existing::Resume, ..settings };
    for other in [
        RunSettings { codec: Codec::RAW, ..resume.clone() },
        RunSettings { precision: Some(Dtype::Bf16), ..resume.clone() },
        RunSettings { logits: Logits::Loss, ..resume.clone() },
        RunSettings { sites: vec!["blocks.0.hook_resid_pre".parse().unwrap()], ..resume.clone() },
    ] {
        let error = refusal(&other);
        assert!(matches!(error, HarvestError::Store(StoreError::Mismatch { .. })), "{error}");
    }
}

#[test]
fn a_plan_of_something_else() {
    let farm = Farm::new();
    plan(&farm.plan_settings(), Progress::Silent).unwrap();
    let asked = farm.run_settings();
    let usual = "packing = \"per-document\"\ncontext_length = 12\nsubset_field = \"meta.subset\"";
    for (keys, setting) in [
        (usual.replace("per-document", "concat"), "packing"),
        (usual.replace("12", "10"), "context_length"),
        (usual.replace("subset_field = \"meta.subset\"", ""), "subset_field"),
        (format!("{usual}\ntext_field = \"body\""), "text_field"),
        (format!("{usual}\nmax_tokens = 50"), "max_tokens"),
        (format!("{usual}\nseed = 1"), "seed"),
        (format!("{usual}\nbos = \"hay\""), "BOS"),
        (format!("{usual}\n[[files]]\npath = \"other.jsonl\""), "files"),
    ] {
        farm.manifest(&keys);
        let error = refusal(&asked);
        assert!(matches!(&error, HarvestError::PlanDiffers { setting: differs, .. } if differs == setting), "{error}");
        assert!(error.to_string().contains("plan.json: "), "{error}");
    }
    farm.manifest(usual);
    for (other, setting) in [
        (RunSettings { shard_tokens: Some(61), ..asked.clone() }, "--shard-tokens"),
        (RunSettings { row_group_rows: Some(25), ..asked.clone() }, "--row-group-rows"),
    ] {
        let error = refusal(&other);
        assert!(matches!(&error, HarvestError::PlanDiffers { setting: differs, .. } if differs == setting), "{error}");
    }
    farm.write("hay.jsonl", "{\"text\": \"hay\"}\n");
    assert!(refusal(&asked).to_string().contains("bytes of "));
    assert!(!farm.cache().join("shards").exists());
}

#[test]
fn a_plan_by_another_tokenizer() {
    let farm = Farm::new();
    plan(&farm.plan_settings(), Progress::Silent).unwrap();
    let tokenizer = fs::read_to_string(farm.path("model/tokenizer.json")).unwrap();
    farm.write("model/tokenizer.json", tokenizer + "\n");
    let error = refusal(&farm.run_settings());
    assert!(error.to_string().contains("tokenizer.json"), "{error}");
}

#[test]
fn a_plan_with_longer_sequences_than_the_models() {
    let farm = Farm::new();
    plan(&farm.plan_settings(), Progress::Silent).unwrap();
    farm.write("model/config.json", config(12, 8));
    let error = refusal(&farm.run_settings());
    assert!(matches!(error, HarvestError::ContextTooLong { longest: 8, context_length: 12, .. }), "{error}");
}

#[test]
fn neither_plan_nor_data() {
    let farm = Farm::new();
    let error = refusal(&RunSettings { data: None, ..farm.run_settings() });
    assert!(matches!(error, HarvestError::NothingPlanned { .. }), "{error}");
    assert!(!farm.cache().exists());
}

#[test]
fn site_out_of_range() {
    let farm = Farm::new();
    let settings = RunSettings { sites: vec!["blocks.3.hook_resid_pre".parse().unwrap()], ..farm.run_settings() };
    let error = refusal(&settings);
    let n_blocks = BLOCKS;
    assert!(
        matches!(&error, HarvestError::Model(ModelError::SiteRange { n_blocks: n, .. }) if *n == n_blocks),
        "{error}"
    );
    assert!(!farm.cache().exists());
}

#[test]
fn no_site() {
    let error = refusal(&RunSettings { sites: Vec::new(), ..Farm::new().run_settings() });
    assert!(error.to_string().contains("--site blocks.1.hook_resid_pre"), "{error}");
}

#[test]
fn shards_that_are_not_planned() {
    let farm = Farm::new();
    let error = refusal(&RunSettings { shards: "0..1000".parse().unwrap(), ..farm.run_settings() });
    assert!(matches!(error, HarvestError::ShardRange { .. }), "{error}");
}

/// Puts NaN into the embedding of `wind`, the last word, which only the last document has.
fn farm_with_a_bad_wind() -> Farm {
    let farm = Farm::new();
    let documents: String = (0..40).map(|_| "{\"text\": \"hay loft barn field cow\"}\n").collect();
    farm.write("hay.jsonl", documents + "{\"text\": \"rain wind rain\"}\n");
    farm.manifest("packing = \"per-document\"\ncontext_length = 12");
    let mut bytes = weights(1.0);
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let names: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let start = names["model.embed_tokens.weight"]["data_offsets"][0].as_u64().unwrap() as usize;
    let at = 8 + header + start + 4 * 11 * D_MODEL;
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    farm.write("model/model.safetensors", bytes);
    farm
}

#[test]
fn nan_in_activations_stops_the_run_and_keeps_whole_shards() {
    let farm = farm_with_a_bad_wind();
    let error = refusal(&farm.run_settings());
    assert!(matches!(error, HarvestError::Store(StoreError::NonFinite { sequence: 40, .. })), "{error}");
    assert!(error.to_string().contains("--allow-non-finite"), "{error}");
    let left: Vec<String> = fs::read_dir(farm.cache().join("shards"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(!left.is_empty() && left.iter().all(|name| !name.starts_with('.')), "{left:?}");

    let settings = RunSettings { existing: Existing::Resume, non_finite: NonFinite::Allow, ..farm.run_settings() };
    let summary = harvest(&settings);
    assert_eq!((summary.filled_shards, summary.complete_shards), (1, summary.planned_shards));
    // The kernels may spread NaN to the tokens before it, but not to another sequence.
    assert!(summary.sites.iter().all(|site| (1..=4).contains(&site.non_finite_rows)), "{summary}");
    assert!(summary.to_string().contains("rows are NaN or infinite"), "{summary}");
}

#[test]
fn a_second_writer() {
    let farm = Farm::new();
    plan(&farm.plan_settings(), Progress::Silent).unwrap();
    let lock = fs::OpenOptions::new().read(true).write(true).open(farm.cache().join(".lock")).unwrap();
    lock.lock().unwrap();
    let error = refusal(&farm.run_settings());
    assert!(matches!(error, HarvestError::Store(StoreError::Locked { .. })), "{error}");
    drop(lock);
    harvest(&farm.run_settings());
}
