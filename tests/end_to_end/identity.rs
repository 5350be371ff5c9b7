//! A model is known by what it computes: other files with the same model are accepted, and another model is refused by what
//! differs.

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::{Map, Value, json};

use super::small_model::SmallModel;
use crate::support::program::{program, refuse, succeed};
use crate::support::{assert_same_files, copy_folder, fixture};

const WEIGHTS: &str = "model.safetensors";

/// The small model, a cache of it, and copies of its checkpoint.
struct Copies {
    small: SmallModel,
    cache: PathBuf,
}

impl Copies {
    fn new() -> Self {
        let small = SmallModel::new();
        let cache = small.folder("cache");
        succeed(&mut small.harvest("", &cache));
        Self { small, cache }
    }

    /// A copy with changed keys of `config.json`.
    fn configured(&self, name: &str, changes: &[(&str, Value)]) -> PathBuf {
        let folder = self.small.folder(name);
        copy_folder(&self.small.model, &folder);
        let path = folder.join("config.json");
        let config: Map<String, Value> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        // In another order.
        let mut config: Map<String, Value> = config.into_iter().rev().collect();
        config.extend(changes.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        std::fs::write(path, Value::from(config).to_string()).unwrap();
        folder
    }

    fn evaluate(&self, model: &Path) -> std::process::Command {
        let sae = fixture("tiny-llama/sae");
        program("evaluate", "run", &[("--model", model), ("--cache", &self.cache), ("--sae", &sae)])
    }
}

/// Cuts the weights into two files with an index, and writes the tensors in another order.
fn reshard(folder: &Path) {
    let bytes = std::fs::read(folder.join(WEIGHTS)).unwrap();
    let parsed = SafeTensors::deserialize(&bytes).unwrap();
    let tensors: Vec<(String, TensorView<'_>)> = parsed.tensors();
    let mut places = Map::new();
    for part in 0..2 {
        let file = format!("model-{part:05}-of-00002.safetensors");
        let own = || tensors.iter().rev().skip(part).step_by(2);
        places.extend(own().map(|(name, _)| (name.clone(), json!(file))));
        let saved = safetensors::serialize(own().map(|(name, view)| (name, view)), None).unwrap();
        std::fs::write(folder.join(file), saved).unwrap();
    }
    std::fs::write(
        folder.join("model.safetensors.index.json"),
        json!({"metadata": {"total_size": 1}, "weight_map": places}).to_string(),
    )
    .unwrap();
    std::fs::remove_file(folder.join(WEIGHTS)).unwrap();
}

#[test]
fn the_same_model_in_other_files_gives_the_same_figures_and_goes_on_with_its_cache() {
    let copies = Copies::new();
    let again = copies.configured(
        "again",
        &[
            ("transformers_version", json!("4.46.0")),
            ("_name_or_path", json!("another")),
            ("attention_dropout", json!(0.1)),
            ("max_position_embeddings", json!(1 << 16)),
        ],
    );
    let resharded = copies.configured("resharded", &[]);
    reshard(&resharded);
    // A harvest that one copy begins and the other finishes has the bytes of one.
    let both = copies.small.folder("both");
    succeed(&mut copies.small.harvest("--shards 0..2", &both));
    let other = SmallModel { model: resharded.clone(), data: copies.small.data.clone(), ..SmallModel::new() };
    succeed(&mut other.harvest("--resume", &both));
    assert_same_files(&copies.cache, &both);

    let expected = succeed(&mut copies.evaluate(&copies.small.model));
    for model in [&again, &resharded] {
        assert_eq!(succeed(&mut copies.evaluate(model)), expected, "{}", model.display());
    }
    let digest = |model: &Path| {
        let text = succeed(&mut program("harvest", "inspect --json", &[("", model)]));
        serde_json::from_str::<Value>(&text).unwrap()["identity_sha256"].as_str().unwrap().to_owned()
    };
    assert_eq!(digest(&resharded), digest(&copies.small.model));
    let shown = succeed(&mut program("store", "inspect", &[("", &copies.cache)]));
    assert!(shown.contains(&digest(&again)[..12]), "{shown}");
}

#[test]
fn another_model_is_refused_by_the_fact_or_the_tensors_that_differ() {
    let copies = Copies::new();
    for (fact, key, value, expected, got) in [
        ("rope_theta", "rope_parameters", json!({"rope_type": "default", "rope_theta": 5e5}), "10000", "500000"),
        ("rms_norm_eps", "rms_norm_eps", json!(0.25), "0.000", "0.25"),
        ("hidden_act", "hidden_act", json!("gelu"), "silu", "gelu"),
        ("dtype", "dtype", json!("bfloat16"), "f32", "bf16"),
    ] {
        let other = copies.configured(fact, &[(key, value)]);
        let message = refuse(&mut copies.evaluate(&other));
        for words in ["another model", fact, expected, got] {
            assert!(message.contains(words), "{fact}: expected {words:?} in {message}");
        }
        let other = SmallModel { model: other, data: copies.small.data.clone(), ..SmallModel::new() };
        let message = refuse(&mut other.harvest("--resume --dtype f32", &copies.cache));
        assert!(message.contains(&format!("model.{fact}")), "{message}");
    }
}
