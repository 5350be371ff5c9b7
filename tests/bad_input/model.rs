//! Checkpoints and tokenizers.

use std::path::{Path, PathBuf};

use hayloft_checkpoint::{Checkpoint, HeadWeights};
use hayloft_model::{Decoder, ModelError, Portion, Positions, Tokenizer, parse_device};
use hayloft_runtime::Dtype;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

use crate::support::{copy_folder, fixture};

pub(super) const WEIGHTS: &str = "model.safetensors";

/// A copy of a small valid checkpoint, for a test to corrupt.
pub(super) fn checkpoint() -> (TempDir, PathBuf) {
    let scratch = TempDir::new().unwrap();
    let folder = scratch.path().join("checkpoint");
    copy_folder(&fixture("decoder/llama2"), &folder);
    (scratch, folder)
}

pub(super) fn set(folder: &Path, key: &str, value: Value) {
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config[key] = value;
    std::fs::write(path, config.to_string()).unwrap();
}

pub(super) fn refusal(folder: &Path) -> String {
    Checkpoint::open(folder).unwrap_err().to_string()
}

/// Asserts that a message contains every part.
pub(super) fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "expected {part:?} in: {message}");
    }
}

/// Rewrites the weights with a tensor renamed, dropped or added.
pub(super) fn rewrite(folder: &Path, change: impl Fn(&mut Vec<(String, TensorView<'_>)>)) {
    let bytes = std::fs::read(folder.join(WEIGHTS)).unwrap();
    let parsed = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<(String, TensorView<'_>)> = parsed
        .iter()
        .map(|(name, view)| {
            (name.to_owned(), TensorView::new(view.dtype(), view.shape().to_vec(), view.data()).unwrap())
        })
        .collect();
    change(&mut tensors);
    std::fs::write(folder.join(WEIGHTS), safetensors::serialize(tensors, None).unwrap()).unwrap();
}

#[test]
fn missing_weights() {
    let (_scratch, folder) = checkpoint();
    std::fs::remove_file(folder.join(WEIGHTS)).unwrap();
    assert_says(&refusal(&folder), &["checkpoint", WEIGHTS, "index.json", "found neither"]);
}

#[test]
fn missing_configuration() {
    let (_scratch, folder) = checkpoint();
    std::fs::remove_file(folder.join("config.json")).unwrap();
    assert_says(&refusal(&folder), &["config.json", "cannot be read"]);
}

/// Files that are often saved in the place of others, and what is said of them.
const OTHERS: [(&str, &str); 3] = [
    ("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"),
    ("<!DOCTYPE html><html></html>", "got a web page"),
    ("Access to model a/b is restricted.", "an error of the Hugging Face Hub"),
];

#[test]
fn files_in_the_place_of_others_are_named() {
    for (text, words) in OTHERS {
        for name in ["config.json", WEIGHTS] {
            let (_scratch, folder) = checkpoint();
            std::fs::write(folder.join(name), text).unwrap();
            let message = refusal(&folder);
            assert_says(&message, &[name, words]);
            assert!(!message.contains("Copy or download it again"), "{message}");
        }
        let (_scratch, folder) = checkpoint();
        std::fs::write(folder.join("tokenizer.json"), text).unwrap();
        assert_says(&Tokenizer::open(&folder).unwrap_err().to_string(), &["tokenizer.json", words]);
    }
}

#[test]
fn weights_in_another_format_are_named() {
    for (name, words) in [
        ("model-q4.gguf", "model-q4.gguf, a GGUF file"),
        ("pytorch_model.bin", "pytorch_model.bin, pickled weights"),
        ("consolidated.safetensors", "by Mistral's names"),
        ("consolidated.00.pth", "by Meta's names"),
        ("tf_model.h5", "TensorFlow"),
        ("weights.safetensors", "name it model.safetensors"),
    ] {
        let (_scratch, folder) = checkpoint();
        std::fs::rename(folder.join(WEIGHTS), folder.join(name)).unwrap();
        assert_says(&refusal(&folder), &["no weights", "found neither, but", words]);
        if !name.ends_with(".safetensors") {
            std::fs::remove_file(folder.join("config.json")).unwrap();
            assert_says(&refusal(&folder), &["expected the folder of a checkpoint", words]);
        }
    }
}

#[test]
fn a_path_that_is_no_checkpoints_folder_is_said_to_be_what_it_is() {
    let (scratch, folder) = checkpoint();
    assert_says(&refusal(scratch.path()), &["got a folder above it. Name ", "/checkpoint"]);
    assert_says(&refusal(&folder.join(WEIGHTS)), &["model.safetensors: expected the folder", "Name its folder, "]);
    copy_folder(&folder, &scratch.path().join("other"));
    assert_says(&refusal(scratch.path()), &["got a folder with several: ", "/checkpoint, ", "/other. Name one"]);
    let sae = fixture("saes/standard-none");
    assert_says(&refusal(&sae), &["got an SAE (cfg.json)", "--sae"]);
    let empty = TempDir::new().unwrap();
    assert_says(&refusal(empty.path()), &["got an empty folder"]);
    let file = empty.path().join("model.gguf");
    std::fs::write(&file, b"GGUF\x03\0\0\0").unwrap();
    assert_says(&refusal(&file), &["model.gguf: expected the folder", "got a GGUF file"]);
}

#[test]
fn a_configuration_that_begins_with_a_byte_order_mark_is_read() {
    let (_scratch, folder) = checkpoint();
    let config = folder.join("config.json");
    let text = [b"\xef\xbb\xbf".as_slice(), &std::fs::read(&config).unwrap()].concat();
    std::fs::write(config, text).unwrap();
    Checkpoint::open(&folder).unwrap();
}

#[test]
fn truncated_weights() {
    let (_scratch, folder) = checkpoint();
    let whole = std::fs::read(folder.join(WEIGHTS)).unwrap();
    for length in [0, 4, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(folder.join(WEIGHTS), &whole[..length]).unwrap();
        assert_says(&refusal(&folder), &[WEIGHTS, &format!("got {length} bytes"), "again"]);
    }
}

#[test]
fn a_header_with_a_false_length() {
    let (_scratch, folder) = checkpoint();
    let mut bytes = std::fs::read(folder.join(WEIGHTS)).unwrap();
    bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    std::fs::write(folder.join(WEIGHTS), bytes).unwrap();
    assert_says(&refusal(&folder), &[WEIGHTS, "not a whole safetensors file"]);
}

#[test]
fn a_missing_tensor() {
    let (_scratch, folder) = checkpoint();
    rewrite(&folder, |tensors| tensors.retain(|(name, _)| name != "model.layers.1.mlp.up_proj.weight"));
    assert_says(&refusal(&folder), &["model.layers.1.mlp.up_proj.weight", "missing", "expected"]);
}

/// A checkpoint of `fixture/name` with an unembedding in its file beside the tied embedding, and without a tie.
fn untied_and_tied(name: &str, change: impl Fn(f32) -> f32) -> (TempDir, [Checkpoint; 2], Checkpoint) {
    let scratch = TempDir::new().unwrap();
    let of = |place: &str, tied: bool, with_head: bool| {
        let folder = scratch.path().join(place);
        copy_folder(&fixture(name), &folder);
        set(&folder, "tie_word_embeddings", json!(tied));
        let bytes = std::fs::read(folder.join(WEIGHTS)).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let is_embedding = |name: &&&str| name.ends_with("embed_tokens.weight") || name.ends_with("wte.weight");
        let names = file.names();
        let embedding = file.tensor(names.iter().find(is_embedding).unwrap()).unwrap();
        let numbers = embedding.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
        // `rewrite` needs data that outlives the file.
        let head: &[u8] = numbers.flat_map(|number| change(number).to_le_bytes()).collect::<Vec<_>>().leak();
        if with_head {
            rewrite(&folder, |tensors| {
                let view = TensorView::new(safetensors::Dtype::F32, embedding.shape().to_vec(), head).unwrap();
                tensors.push(("lm_head.weight".to_owned(), view));
            });
        }
        Checkpoint::open(&folder).unwrap()
    };
    let (tied, untied, plain) = (of("tied", true, true), of("untied", false, true), of("plain", true, false));
    (scratch, [tied, untied], plain)
}

pub(super) fn logits(checkpoint: &Checkpoint) -> Tensor {
    let _guard = hayloft_model::no_grad();
    let decoder = Decoder::load(checkpoint, Portion::Whole, Dtype::F32, Device::Cpu).unwrap();
    let start = decoder.embed(&Tensor::from_slice(&[1_i64, 5, 9, 3]).unsqueeze(0)).unwrap();
    let end = decoder.advance(&start, decoder.spec().n_blocks, &Positions::from_start(4)).unwrap();
    decoder.logits(&end).unwrap()
}

/// As transformers does: tensors are tied if they are equal. `scripts/goldens/decoder.py` checks this.
#[test]
fn a_tied_head_that_the_files_hold_with_other_values_is_the_stored_one() {
    for name in ["decoder/llama-tied-biases", "families/gpt2", "families/gemma2"] {
        let (_scratch, [tied, untied], plain) = untied_and_tied(name, |number| 0.5 * number + 0.25);
        assert_eq!(tied.spec().head, HeadWeights::Own, "{name}");
        assert_eq!(logits(&tied), logits(&untied), "{name}");
        assert_ne!(logits(&tied), logits(&plain), "{name}");
        let (_scratch, [tied, untied], plain) = untied_and_tied(name, |number| number);
        assert_eq!(tied.spec().head, HeadWeights::Tied, "{name}: an equal head");
        assert_eq!(logits(&tied), logits(&plain), "{name}");
        assert_eq!(logits(&untied), logits(&plain), "{name}");
    }
}

#[test]
fn a_head_that_is_absent_or_of_another_shape() {
    let (_scratch, folder) = checkpoint();
    rewrite(&folder, |tensors| tensors.retain(|(name, _)| name != "lm_head.weight"));
    assert_says(&refusal(&folder), &["lm_head.weight", "missing", "expected"]);
    let (_scratch, folder) = checkpoint();
    set(&folder, "tie_word_embeddings", json!(true));
    rewrite(&folder, |tensors| {
        tensors.retain(|(name, _)| name != "lm_head.weight");
        let view = TensorView::new(safetensors::Dtype::F32, vec![1, 2], &[0; 8]).unwrap();
        tensors.push(("lm_head.weight".to_owned(), view));
    });
    assert_says(&refusal(&folder), &[WEIGHTS, "lm_head.weight", "has shape [1, 2]", "expected [96, 32]"]);
}

#[test]
fn an_adapter_alone_and_beside_the_weights() {
    let adapter = json!({"peft_type": "LORA", "base_model_name_or_path": "meta-llama/Llama-2-7b-chat-hf", "r": 8});
    for file in ["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"] {
        let (_scratch, folder) = checkpoint();
        std::fs::write(folder.join(file), if file.ends_with("json") { adapter.to_string() } else { "x".to_owned() })
            .unwrap();
        assert_says(&refusal(&folder), &[file, "an adapter of PEFT", "beside a model's weights", "merge"]);
    }
    let (_scratch, folder) = checkpoint();
    std::fs::write(folder.join("adapter_config.json"), adapter.to_string()).unwrap();
    assert_says(&refusal(&folder), &["LORA", "meta-llama/Llama-2-7b-chat-hf", "beside a model's weights"]);
    // With the base model's configuration, and without.
    for gone in [WEIGHTS, "config.json"] {
        std::fs::remove_file(folder.join(gone)).unwrap();
        assert_says(&refusal(&folder), &["adapter_config.json", "meta-llama", "no model by itself", "merge"]);
    }
}

#[test]
fn a_tensor_that_the_model_does_not_use() {
    let (_scratch, folder) = checkpoint();
    rewrite(&folder, |tensors| {
        let view = TensorView::new(safetensors::Dtype::F32, vec![1], &[0; 4]).unwrap();
        tensors.push(("model.layers.0.self_attn.q_norm.weight".to_owned(), view));
    });
    assert_says(&refusal(&folder), &[WEIGHTS, "q_norm.weight", "no layer takes"]);
}

#[test]
fn a_tensor_of_another_shape() {
    let (_scratch, folder) = checkpoint();
    set(&folder, "intermediate_size", json!(8));
    assert_says(&refusal(&folder), &[WEIGHTS, "mlp", "has shape", "expected"]);
}

#[test]
fn a_quantised_tensor() {
    let (_scratch, folder) = checkpoint();
    rewrite(&folder, |tensors| {
        let view = TensorView::new(safetensors::Dtype::I8, vec![4], &[0; 4]).unwrap();
        tensors.push(("model.norm.scale".to_owned(), view));
    });
    assert_says(&refusal(&folder), &[WEIGHTS, "model.norm.scale", "I8", "F32, BF16 or F16"]);
}

#[test]
fn a_quantised_checkpoint() {
    let (_scratch, folder) = checkpoint();
    set(&folder, "quantization_config", json!({"quant_method": "gptq", "bits": 4}));
    assert_says(&refusal(&folder), &["config.json", "gptq", "original checkpoint"]);
    assert!(Checkpoint::read_spec(&folder).is_ok(), "the model's specification can still be read");
}

#[test]
fn an_index_that_leads_out_of_the_folder() {
    let (_scratch, folder) = checkpoint();
    std::fs::remove_file(folder.join(WEIGHTS)).unwrap();
    for hostile in ["../model.safetensors", "/etc/passwd", "..", "a/b.safetensors"] {
        let index = json!({"metadata": {}, "weight_map": {"model.norm.weight": hostile}});
        std::fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
        assert_says(&refusal(&folder), &["index.json", hostile, "plain file name"]);
    }
}

#[test]
fn an_unknown_model_type() {
    let (_scratch, folder) = checkpoint();
    set(&folder, "model_type", json!("mamba"));
    assert_says(&refusal(&folder), &["config.json", "mamba", "llama, mistral, qwen2, qwen3, gemma, gemma2"]);
}

#[test]
fn an_unknown_rope_scaling() {
    let (_scratch, folder) = checkpoint();
    set(&folder, "rope_parameters", json!({"rope_type": "ntk", "rope_theta": 10000.0, "factor": 2.0}));
    assert_says(&refusal(&folder), &["config.json", "ntk", "default, linear, dynamic, yarn, longrope or llama3"]);
}

#[test]
fn unsupported_rotary_settings() {
    for (key, value, parts) in [
        ("rope_interleaved", json!(true), vec!["rope_interleaved", "false or absent"]),
        (
            "rope_parameters",
            json!({"rope_type": "longrope", "rope_theta": 10000.0, "long_factor": [1.0], "short_factor": [1.0]}),
            vec!["short_factor", "a list of 1", "6 numbers above 0"],
        ),
        (
            "rope_parameters",
            json!({"rope_type": "yarn", "type": "linear", "rope_theta": 10000.0, "factor": 2.0}),
            vec!["rope_type", "yarn", "linear"],
        ),
        ("rope_parameters", json!({"rope_type": "default", "rope_theta": -1.0}), vec!["rope_theta", "positive"]),
    ] {
        let (_scratch, folder) = checkpoint();
        set(&folder, key, value);
        assert_says(&refusal(&folder), &parts);
    }
    let (_scratch, folder) = checkpoint();
    set(&folder, "rope_parameters", Value::Null);
    set(&folder, "rope_theta", json!(0.0));
    assert_says(&refusal(&folder), &["rope_theta", "positive"]);
}

#[test]
fn keys_of_released_checkpoints_that_change_nothing_are_passed_over() {
    let (_scratch, folder) = checkpoint();
    set(&folder, "rope_interleaved", json!(false));
    set(&folder, "is_llama_config", json!(true));
    set(&folder, "transformers.js_config", json!({"dtype": "q4"}));
    Checkpoint::open(&folder).unwrap();
}

#[test]
fn an_unknown_activation() {
    let (_scratch, folder) = checkpoint();
    set(&folder, "hidden_act", json!("relu6"));
    assert_says(&refusal(&folder), &["config.json", "hidden_act", "relu6", "silu"]);
}

#[test]
fn an_unknown_configuration_key() {
    let (_scratch, folder) = checkpoint();
    set(&folder, "attention_sinks", json!(4));
    assert_says(&refusal(&folder), &["config.json", "attention_sinks"]);
}

#[test]
fn absurd_sizes_in_a_configuration() {
    for (key, value) in [
        ("num_hidden_layers", json!(1_u64 << 40)),
        ("num_hidden_layers", json!(0)),
        ("vocab_size", json!(1_u64 << 62)),
        ("num_key_value_heads", json!(3)),
        ("head_dim", json!(5)),
        ("num_attention_heads", json!(-1)),
    ] {
        let (_scratch, folder) = checkpoint();
        set(&folder, key, value.clone());
        assert!(Checkpoint::open(&folder).is_err(), "{key} = {value} was accepted");
    }
}

#[test]
fn a_configuration_that_is_not_json() {
    let (_scratch, folder) = checkpoint();
    std::fs::write(folder.join("config.json"), "{\"model_type\": ").unwrap();
    assert_says(&refusal(&folder), &["config.json", "JSON"]);
}

#[test]
fn a_tokenizer_that_is_not_one() {
    let (_scratch, folder) = checkpoint();
    for text in ["", "{}", "[1, 2"] {
        std::fs::write(folder.join("tokenizer.json"), text).unwrap();
        assert_says(&Tokenizer::open(&folder).unwrap_err().to_string(), &["tokenizer.json", "again"]);
    }
}

#[test]
fn tokenizers_that_are_not_converted_or_contradict_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = || Tokenizer::open(folder.path()).unwrap_err().to_string();
    std::fs::write(folder.path().join("tokenizer.model"), "").unwrap();
    assert_says(&refusal(), &["expected tokenizer.json, got tokenizer.model", "save_pretrained"]);
    std::fs::copy(fixture("stories260K/tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
    std::fs::write(folder.path().join("added_tokens.json"), r#"{"<|im_start|>": 512}"#).unwrap();
    assert_says(&refusal(), &["added_tokens.json", "<|im_start|>", "normalizer"]);
    let config = r#"{"tokenizer_class": "LlamaTokenizer", "add_prefix_space": true, "pad_token": "<|im_start|>"}"#;
    std::fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
    Tokenizer::open(folder.path()).unwrap();
    std::fs::write(folder.path().join("tokenizer_config.json"), r#"{"added_tokens_decoder": {"x": "y"}}"#).unwrap();
    assert_says(&refusal(), &["tokenizer_config.json", "added_tokens_decoder"]);
}

#[test]
fn tokenizer_and_model_vocabularies_that_disagree() {
    let tokenizer = Tokenizer::open(&fixture("tiny-llama")).unwrap();
    tokenizer.check_ids(&[0, 2], 3).unwrap();
    let message = tokenizer.check_ids(&[0, 4, 2], 3).unwrap_err().to_string();
    assert_says(&message, &["tokenizer.json", "id 4", "ends at 3", "one checkpoint"]);
}

#[test]
fn a_site_out_of_range_or_of_another_name() {
    use hayloft_model::Site;
    assert_says(&"blocks.1.hook_mlp_in".parse::<Site>().unwrap_err().to_string(), &["hook_mlp_in", "hook_resid_pre"]);
    let spec = Checkpoint::read_spec(&fixture("decoder/llama2")).unwrap();
    let message = "blocks.9.hook_resid_pre".parse::<Site>().unwrap().check(&spec).unwrap_err().to_string();
    assert_says(&message, &["block 9", "3 blocks"]);
}

#[test]
fn a_missing_device() {
    assert_says(&parse_device("tpu").unwrap_err().to_string(), &["tpu", "cpu, cuda or cuda:N"]);
    if let Err(error) = parse_device("cuda:99") {
        assert_says(&error.to_string(), &["cuda:99"]);
    } else {
        panic!("a hundredth GPU was accepted");
    }
}

#[test]
fn a_context_longer_than_the_models() {
    let (_scratch, folder) = checkpoint();
    set(&folder, "max_position_embeddings", json!(4));
    let decoder = Decoder::load(&Checkpoint::open(&folder).unwrap(), Portion::Whole, Dtype::F32, Device::Cpu).unwrap();
    let tokens = Tensor::zeros([1, 5], (Kind::Int64, Device::Cpu));
    assert_says(&decoder.embed(&tokens).unwrap_err().to_string(), &["5 tokens", "at most 4"]);
}

#[test]
fn a_part_that_was_not_loaded() {
    let (_scratch, folder) = checkpoint();
    let checkpoint = Checkpoint::open(&folder).unwrap();
    let upper = Decoder::load(&checkpoint, Portion::From(1), Dtype::F32, Device::Cpu).unwrap();
    let tokens = Tensor::zeros([1, 2], (Kind::Int64, Device::Cpu));
    assert!(matches!(upper.embed(&tokens), Err(ModelError::NotLoaded { .. })));
    let lower = Decoder::load(&checkpoint, Portion::Below(1), Dtype::F32, Device::Cpu).unwrap();
    let start = lower.embed(&tokens).unwrap();
    assert!(matches!(lower.advance(&start, 2, &Positions::from_start(2)), Err(ModelError::NotLoaded { .. })));
}
