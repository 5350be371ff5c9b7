//! Planning: what a plan holds, that it is a function of its inputs, and one test for each refusal.

use std::fs;
use std::path::Path;

use hayloft_harvest::{DataManifest, HarvestError, plan};
use hayloft_runtime::Progress;
use hayloft_store::{Counts, Packing, PlanReader, Section};

use crate::checkpoint::{Farm, config, contents};

fn refusal(farm: &Farm) -> HarvestError {
    let error = plan(&farm.plan_settings(), Progress::Silent).unwrap_err();
    assert!(!farm.cache().join("plan.json").exists());
    assert!(!farm.cache().join("plan").exists(), "half a plan was left: {error}");
    error
}

#[test]
fn a_plan_says_what_it_holds() {
    let farm = Farm::new();
    let summary = plan(&farm.plan_settings(), Progress::Silent).unwrap();
    assert_eq!((summary.documents, summary.sequences, summary.empty_documents), (30, 30, 0));
    assert_eq!(summary.sections[&Section::Bos], 30);
    assert_eq!(summary.sections.values().sum::<u64>(), summary.tokens);
    assert_eq!(summary.subsets.keys().collect::<Vec<_>>(), ["even", "odd"]);
    assert_eq!(summary.subsets.values().sum::<u64>(), summary.tokens);
    assert!(summary.dropped_tokens > 0 && summary.padding_share > 0.0 && summary.padding_share < 0.5);

    let reader = PlanReader::open(&farm.cache()).unwrap();
    let corpus = &reader.plan().corpus;
    assert_eq!((corpus.name.as_str(), corpus.packing, corpus.context_length), ("hay", Packing::PerDocument, 12));
    assert_eq!(
        (corpus.tokenizer.bos_id, corpus.tokenizer.bos_text.as_str(), corpus.tokenizer.vocab_size),
        (1, "<s>", 12)
    );
    assert_eq!((corpus.data.documents, corpus.data.files.len()), (30, 1));
    assert_eq!(corpus.data.files[0].path, "hay.jsonl");
    assert_eq!(reader.plan().shards.len(), summary.shards);
    let mut next_id = 0;
    for shard in 0..summary.shards {
        let (sequences, tokens) = reader.sequences_and_tokens(shard).unwrap();
        assert!(tokens.len() <= 60);
        let mut ids: Vec<u64> = sequences.iter().map(|sequence| sequence.id).collect();
        ids.sort_unstable();
        assert_eq!(ids, (next_id..next_id + ids.len() as u64).collect::<Vec<_>>());
        next_id += ids.len() as u64;
        assert!(sequences.iter().all(|sequence| tokens.token[sequence.first_row as usize] == 1));
    }
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let farms = [Farm::new(), Farm::new()];
    for keys in ["packing = \"concat\"\ncontext_length = 8", "packing = \"per-document\"\ncontext_length = 8\nseed = 5"]
    {
        let plans = farms.each_ref().map(|farm| {
            farm.manifest(keys);
            let mut settings = farm.plan_settings();
            settings.out = tempfile::tempdir_in(farm.path("")).unwrap().keep();
            plan(&settings, Progress::Silent).unwrap();
            contents(&settings.out)
        });
        assert_eq!(plans[0], plans[1]);
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let farm = Farm::new();
    let plans = [1, 3].map(|threads| {
        let mut settings = farm.plan_settings();
        settings.out = farm.path(&format!("cache-{threads}"));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| plan(&settings, Progress::Silent)).unwrap();
        contents(&settings.out)
    });
    assert_eq!(plans[0], plans[1]);
}

#[test]
fn concat_fills_every_context() {
    let farm = Farm::new();
    farm.manifest("packing = \"concat\"\ncontext_length = 8\nmax_tokens = 100");
    let summary = plan(&farm.plan_settings(), Progress::Silent).unwrap();
    assert_eq!((summary.tokens, summary.sequences), (96, 12));
    assert!(summary.padding_share.abs() < f64::EPSILON);
    let reader = PlanReader::open(&farm.cache()).unwrap();
    assert!(
        (0..summary.shards).all(|shard| reader.sequences(shard).unwrap().iter().all(|sequence| sequence.length == 8))
    );
    assert_eq!(reader.plan().corpus.data.max_tokens, Some(100));
}

#[test]
fn bos_of_the_data_manifest_goes_before_the_tokenizers() {
    let farm = Farm::new();
    farm.manifest("packing = \"per-document\"\ncontext_length = 8\nbos = \"owl\"");
    plan(&farm.plan_settings(), Progress::Silent).unwrap();
    let reader = PlanReader::open(&farm.cache()).unwrap();
    assert_eq!(reader.plan().corpus.tokenizer.bos_text, "owl");
    let (sequences, tokens) = reader.sequences_and_tokens(0).unwrap();
    assert!(sequences.iter().all(|sequence| tokens.token[sequence.first_row as usize] == 7));
}

#[test]
fn documents_without_tokens_are_counted() {
    let farm = Farm::new();
    farm.write("hay.jsonl", "{\"text\": \"\"}\n{\"text\": \"   \"}\n{\"text\": \"hay\"}\n");
    farm.manifest("packing = \"per-document\"\ncontext_length = 8");
    let summary = plan(&farm.plan_settings(), Progress::Silent).unwrap();
    assert_eq!((summary.documents, summary.empty_documents, summary.tokens), (1, 2, 2));
    let counts = &PlanReader::open(&farm.cache()).unwrap().plan().counts.clone();
    let sections = [(Section::Text, 1), (Section::Bos, 1)].into();
    assert_eq!(counts, &Counts { sequences: 1, tokens: 2, sections, subsets: [].into() });
}

#[test]
fn planning_needs_no_weights() {
    let farm = Farm::new();
    fs::remove_file(farm.path("model/model.safetensors")).unwrap();
    plan(&farm.plan_settings(), Progress::Silent).unwrap();
}

#[test]
fn context_longer_than_the_models() {
    let farm = Farm::new();
    farm.manifest("packing = \"concat\"\ncontext_length = 33");
    let message = refusal(&farm).to_string();
    assert!(message.contains("hay.toml: context_length: expected at most 32"), "{message}");
    assert!(message.contains("got 33"), "{message}");
}

#[test]
fn tokenizer_of_another_vocabulary() {
    let farm = Farm::new();
    farm.write("model/config.json", config(11, 32));
    let message = refusal(&farm).to_string();
    assert!(message.contains("\"wind\" with id 11") && message.contains("ends at 11"), "{message}");
}

#[test]
fn no_bos_anywhere() {
    let farm = Farm::new();
    farm.write("model/tokenizer_config.json", "{}");
    let message = refusal(&farm).to_string();
    assert!(message.contains("bos = "), "{message}");
}

#[test]
fn bos_that_the_vocabulary_lacks() {
    let farm = Farm::new();
    farm.manifest("packing = \"concat\"\ncontext_length = 8\nbos = \"<|begin|>\"");
    let message = refusal(&farm).to_string();
    assert!(message.contains("<|begin|>") && message.contains("hay.toml: bos"), "{message}");
}

#[test]
fn empty_data() {
    let farm = Farm::new();
    for text in ["", "\n\n", "{\"text\": \"\"}\n{\"text\": \"  \"}\n"] {
        farm.write("hay.jsonl", text);
        farm.manifest("packing = \"concat\"\ncontext_length = 8");
        let error = refusal(&farm);
        assert!(matches!(error, HarvestError::NoTokens { .. }), "{error}");
        assert!(error.to_string().contains("hay.toml: expected text, got none"), "{error}");
    }
}

#[test]
fn less_than_one_context() {
    let farm = Farm::new();
    farm.write("hay.jsonl", "{\"text\": \"hay loft\"}\n");
    farm.manifest("packing = \"concat\"\ncontext_length = 8");
    let message = refusal(&farm).to_string();
    assert!(message.contains("got 3 tokens with context_length 8") && message.contains("per-document"), "{message}");
}

#[test]
fn max_tokens_below_one_context() {
    let farm = Farm::new();
    farm.manifest("packing = \"concat\"\ncontext_length = 8\nmax_tokens = 7");
    let error = refusal(&farm);
    assert!(matches!(error, HarvestError::LimitTooSmall { max_tokens: 7, .. }), "{error}");
}

#[test]
fn malformed_line_in_the_middle_leaves_nothing() {
    let farm = Farm::new();
    let mut lines = fs::read_to_string(farm.path("hay.jsonl")).unwrap();
    lines += "{\"text\": \"hay\"\n";
    farm.write("hay.jsonl", lines);
    let message = refusal(&farm).to_string();
    assert!(message.contains("hay.jsonl, line 31: expected one JSON object"), "{message}");
}

#[test]
fn another_plan_in_the_folder() {
    let farm = Farm::new();
    plan(&farm.plan_settings(), Progress::Silent).unwrap();
    let before = contents(&farm.cache());
    let error = plan(&farm.plan_settings(), Progress::Silent).unwrap_err();
    assert!(matches!(error, HarvestError::AlreadyPlanned { .. }), "{error}");
    assert_eq!(contents(&farm.cache()), before);
}

#[test]
fn the_manifests_of_this_project_are_sound() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data-manifests");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            let manifest = DataManifest::open(&path, None).unwrap();
            assert!(!manifest.files.is_empty());
            count += 1;
        }
    }
    assert!(count >= 3);
}
