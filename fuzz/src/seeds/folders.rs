//! Folders as one input: what is imported, and the objects of a bucket.

use std::collections::BTreeMap;
use std::path::Path;

use hayloft_store::convert::{saelens, safetensors};
use hayloft_store::{ExportSettings, FORMAT_VERSION};
use serde_json::{Map, Value, json};

use super::{Seed, cache};
use crate::bundle::{Bundled, join};
use crate::guarded::scratch::read_below;
use crate::targets::{IMPORTED, REMOTE, import_settings};

pub(super) fn seeds() -> Vec<Seed> {
    [imports(), remotes()].concat()
}

/// Those of a folder's files that have one of these names, in their order.
fn bundle(files: &BTreeMap<String, Vec<u8>>, names: &[&str], sized: bool) -> Vec<u8> {
    let bundled = |name: &&str| {
        let (name, bytes) = files.get_key_value(*name)?;
        Some(Bundled { name, bytes, sized })
    };
    join(&names.iter().filter_map(bundled).collect::<Vec<_>>())
}

/// What SAELens itself wrote, and what exports write of the small cache.
fn imports() -> Vec<Seed> {
    let seed =
        |name: &str, files: &BTreeMap<String, Vec<u8>>| ("import", name.to_owned(), bundle(files, &IMPORTED, true));
    let mut seeds = Vec::new();
    let fixture = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("../store/tests/fixtures/saelens").join(name);
    for name in ["float32", "float16"] {
        seeds.push(seed(&format!("saelens-{name}"), &read_below(&fixture(name))));
    }
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| scratch.path().join(name);
    let settings = |cache: &str, out: &str| ExportSettings {
        cache: path(cache),
        out: path(out),
        sites: Vec::new(),
        dtype: None,
        leave_out_short: false,
    };
    let imported = import_settings(&fixture("float32"), &path("imported"), None);
    saelens::import(&imported, &mut |_| ()).expect("an import");
    saelens::export(&settings("imported", "lists"), &mut |_| ()).expect("an export");
    seeds.push(seed(&format!("format-{FORMAT_VERSION}-saelens"), &read_below(&path("lists"))));
    cache::write(&path("small"));
    safetensors::export(&settings("small", "plain"), &mut |_| ()).expect("an export");
    let mut plain = read_below(&path("plain"));
    seeds.push(seed(&format!("format-{FORMAT_VERSION}-safetensors"), &plain));
    plain.extend(model());
    seeds.push(seed(&format!("format-{FORMAT_VERSION}-safetensors-and-model"), &plain));
    seeds
}

/// A checkpoint that fits the small cache, of one block.
fn model() -> BTreeMap<String, Vec<u8>> {
    let config = json!({
        "model_type": "llama", "vocab_size": 512, "hidden_size": 5, "num_hidden_layers": 1, "num_attention_heads": 1,
        "head_dim": 2, "intermediate_size": 1, "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "tie_word_embeddings": true,
    });
    let tokenizer = json!({
        "model": { "type": "BPE", "vocab": { "<s>": 1, "hay": 2 } }, "added_tokens": [{ "id": 3, "content": "</s>" }],
    });
    let files = [
        ("config.json", config),
        ("tokenizer.json", tokenizer),
        ("tokenizer_config.json", json!({ "bos_token": { "content": "<s>" } })),
        ("model.safetensors.index.json", json!({ "weight_map": { "model.norm.weight": "model.safetensors" } })),
    ];
    let mut files: BTreeMap<String, Vec<u8>> =
        files.map(|(name, value)| (format!("model/{name}"), value.to_string().into_bytes())).into();
    files.insert("model/model.safetensors".to_owned(), weights());
    files
}

/// The weights of that checkpoint, all zero.
fn weights() -> Vec<u8> {
    let block = [
        ("input_layernorm", vec![5]),
        ("post_attention_layernorm", vec![5]),
        ("self_attn.q_proj", vec![2, 5]),
        ("self_attn.k_proj", vec![2, 5]),
        ("self_attn.v_proj", vec![2, 5]),
        ("self_attn.o_proj", vec![5, 2]),
        ("mlp.gate_proj", vec![1, 5]),
        ("mlp.up_proj", vec![1, 5]),
        ("mlp.down_proj", vec![5, 1]),
    ];
    let block = block.map(|(name, shape)| (format!("model.layers.0.{name}.weight"), shape));
    let outer = [("model.embed_tokens.weight", vec![512, 5]), ("model.norm.weight", vec![5])];
    let outer = outer.map(|(name, shape)| (name.to_owned(), shape));
    let (mut header, mut end) = (Map::new(), 0);
    for (name, shape) in outer.into_iter().chain(block) {
        let start = end;
        end += 2 * shape.iter().product::<usize>();
        header.insert(name, json!({ "dtype": "BF16", "shape": shape, "data_offsets": [start, end] }));
    }
    let header = Value::from(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.into_bytes());
    bytes.resize(bytes.len() + end, 0);
    bytes
}

/// The objects that a bucket names others by.
fn remotes() -> Vec<Seed> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    cache::write(folder.path());
    let files = read_below(folder.path());
    let (json, table): (Vec<&str>, Vec<&str>) =
        REMOTE.iter().copied().partition(|name| Path::new(name).extension().is_some_and(|kind| kind == "json"));
    let name = |what: &str| format!("format-{FORMAT_VERSION}-{what}");
    vec![
        ("remote", name("records"), bundle(&files, &json, true)),
        ("remote", name("lengths"), bundle(&files, &json, false)),
        ("remote", name("table"), bundle(&files, &table, true)),
    ]
}
