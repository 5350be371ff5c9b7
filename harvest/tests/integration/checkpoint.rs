//! A tiny checkpoint with made-up weights, and data for it, in a temporary folder.

use std::fs;
use std::path::{Path, PathBuf};

use hayloft_harvest::{Logits, PlanSettings, RunSettings, RunSummary, ShardRange, run};
use hayloft_runtime::{Progress, Stopping};
use hayloft_store::{Codec, Existing, NonFinite};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::json;
use tempfile::TempDir;

pub const D_MODEL: usize = 8;
pub const BLOCKS: usize = 3;
pub const CONTEXT: usize = 32;

/// Ids are places in this list.
const WORDS: [&str; 12] = ["<unk>", "<s>", "hay", "loft", "barn", "field", "cow", "owl", "moon", "rain", "sun", "wind"];

/// A folder with `model/`, `hay.toml`, `hay.jsonl` and room for `cache/`.
pub struct Farm {
    folder: TempDir,
}

impl Farm {
    /// Thirty documents of 1 to 14 words, in subsets `odd` and `even`, one sequence each.
    pub fn new() -> Self {
        let farm = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(farm.model()).unwrap();
        farm.write("model/config.json", config(WORDS.len(), CONTEXT));
        farm.write("model/tokenizer.json", tokenizer());
        farm.write("model/tokenizer_config.json", json!({"bos_token": "<s>"}).to_string());
        farm.write("model/model.safetensors", weights(1.0));
        let documents = (0..30_usize).map(|index| {
            let words: Vec<&str> = (0..=index * 5 % 14).map(|word| WORDS[2 + (index + word * word) % 10]).collect();
            let subset = if index.is_multiple_of(2) { "even" } else { "odd" };
            json!({"text": words.join(" "), "meta": {"subset": subset}}).to_string() + "\n"
        });
        farm.write("hay.jsonl", documents.collect::<String>());
        farm.manifest("packing = \"per-document\"\ncontext_length = 12\nsubset_field = \"meta.subset\"");
        farm
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// Writes the data manifest with these keys.
    pub fn manifest(&self, keys: &str) {
        self.write("hay.toml", format!("name = \"hay\"\n{keys}\n[[files]]\npath = \"hay.jsonl\"\n"));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn model(&self) -> PathBuf {
        self.path("model")
    }

    pub fn cache(&self) -> PathBuf {
        self.path("cache")
    }

    /// Plans some five shards.
    pub fn plan_settings(&self) -> PlanSettings {
        PlanSettings {
            model: self.model(),
            data: self.path("hay.toml"),
            data_root: None,
            out: self.cache(),
            shard_tokens: 60,
            row_group_rows: 24,
        }
    }

    /// Harvests them at two sites.
    pub fn run_settings(&self) -> RunSettings {
        RunSettings {
            model: self.model(),
            data: Some(self.path("hay.toml")),
            data_root: None,
            out: self.cache(),
            shard_tokens: Some(60),
            row_group_rows: Some(24),
            sites: ["blocks.1.hook_resid_pre", "blocks.2.hook_resid_post"].map(|site| site.parse().unwrap()).into(),
            codec: Codec::PLANES,
            precision: None,
            device: tch::Device::Cpu,
            logits: Logits::default(),
            shards: ShardRange::default(),
            existing: Existing::Refuse,
            share: None,
            stopping: Stopping::default(),
            non_finite: NonFinite::Refuse,
        }
    }
}

pub fn harvest(settings: &RunSettings) -> RunSummary {
    run(settings, Progress::Silent).unwrap()
}

pub fn config(vocab_size: usize, context: usize) -> String {
    let config = json!({
        "model_type": "llama",
        "vocab_size": vocab_size,
        "hidden_size": D_MODEL,
        "intermediate_size": 12,
        "num_hidden_layers": BLOCKS,
        "num_attention_heads": 2,
        "max_position_embeddings": context,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": true,
        "torch_dtype": "float32",
    });
    config.to_string()
}

/// One token a word; it adds no BOS.
fn tokenizer() -> String {
    let vocabulary: serde_json::Map<_, _> =
        WORDS.iter().enumerate().map(|(id, word)| ((*word).to_owned(), id.into())).collect();
    let special = |id: usize| {
        json!({
            "id": id, "content": WORDS[id], "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        })
    };
    let tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [special(0), special(1)],
        "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": null,
        "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"},
    });
    tokenizer.to_string()
}

/// Weights from a fixed sequence of numbers in (-0.5, 0.5) times `factor`.
pub fn weights(factor: f32) -> Vec<u8> {
    let mut tensors = vec![("model.embed_tokens.weight".to_owned(), vec![WORDS.len(), D_MODEL])];
    for block in 0..BLOCKS {
        for (name, shape) in [
            ("input_layernorm", vec![D_MODEL]),
            ("self_attn.q_proj", vec![D_MODEL, D_MODEL]),
            ("self_attn.k_proj", vec![D_MODEL, D_MODEL]),
            ("self_attn.v_proj", vec![D_MODEL, D_MODEL]),
            ("self_attn.o_proj", vec![D_MODEL, D_MODEL]),
            ("post_attention_layernorm", vec![D_MODEL]),
            ("mlp.gate_proj", vec![12, D_MODEL]),
            ("mlp.up_proj", vec![12, D_MODEL]),
            ("mlp.down_proj", vec![D_MODEL, 12]),
        ] {
            tensors.push((format!("model.layers.{block}.{name}.weight"), shape));
        }
    }
    tensors.push(("model.norm.weight".to_owned(), vec![D_MODEL]));
    let mut state = 1_u32;
    let filled: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|(name, shape)| {
            let numbers = (0..shape.iter().product()).map(|_: usize| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                factor * (state as f32 / u32::MAX as f32 - 0.5)
            });
            let bytes = numbers.flat_map(f32::to_le_bytes).collect();
            (name, shape, bytes)
        })
        .collect();
    let views = filled
        .iter()
        .map(|(name, shape, bytes)| (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

/// Every file under a folder with its bytes, but for the lock.
pub fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().unwrap() != ".lock" {
                files.push((path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}
