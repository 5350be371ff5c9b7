//! Checkpoints as they are released: what more they carry, and what they leave out.

use std::path::{Path, PathBuf};

use hayloft_checkpoint::{Checkpoint, DecoderSpec, HeadWeights, PositionSpec, WeightLayout};
use hayloft_runtime::ModelIdentity;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use tch::Tensor;
use tempfile::TempDir;

use super::model::{WEIGHTS, assert_says, checkpoint, logits, refusal, rewrite, set};
use crate::support::{copy_folder, fixture};

fn copy_of(name: &str) -> (TempDir, PathBuf) {
    let scratch = TempDir::new().unwrap();
    let folder = scratch.path().join("checkpoint");
    copy_folder(&fixture(name), &folder);
    (scratch, folder)
}

/// A configuration alone.
fn configuration(value: &Value) -> Result<DecoderSpec, String> {
    let scratch = TempDir::new().unwrap();
    std::fs::write(scratch.path().join("config.json"), value.to_string()).unwrap();
    Checkpoint::read_spec(scratch.path()).map_err(|error| error.to_string())
}

fn config_of(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap()
}

/// What a checkpoint computes, and which model it is.
fn computed(folder: &Path) -> (Tensor, ModelIdentity) {
    let checkpoint = Checkpoint::open(folder).unwrap();
    (logits(&checkpoint), checkpoint.identity(&|_| {}).unwrap())
}

#[test]
fn masks_of_any_type_beside_the_weights_are_set_aside() {
    for (name, block, attention) in [
        ("families/gpt-neox", "gpt_neox.layers.0", "attention"),
        ("families/gpt2", "transformer.h.0", "attn"),
        ("families/gpt-neo", "transformer.h.0", "attn.attention"),
        ("families/gptj", "transformer.h.0", "attn"),
    ] {
        let (_scratch, folder) = copy_of(name);
        let (expected, model) = computed(&folder);
        rewrite(&folder, |tensors| {
            for (buffer, dtype, shape, bytes) in [
                ("bias", Dtype::U8, vec![1, 1, 2, 2], &[1, 0, 1, 1][..]),
                ("masked_bias", Dtype::F64, vec![], &[0; 8]),
                ("rotary_emb.inv_freq", Dtype::I64, vec![1], &[0; 8]),
            ] {
                let view = TensorView::new(dtype, shape, bytes).unwrap();
                tensors.push((format!("{block}.{attention}.{buffer}"), view));
            }
            let second = block.replace('0', "1");
            let view = TensorView::new(Dtype::BOOL, vec![1, 1, 2, 2], &[1, 0, 1, 1]).unwrap();
            tensors.push((format!("{second}.{attention}.bias"), view));
        });
        assert_eq!(computed(&folder), (expected, model), "{name}");
    }
}

#[test]
fn a_text_model_beside_an_image_encoder_in_the_names_of_several_versions() {
    let (_scratch, folder) = copy_of("families/gemma3-multimodal");
    let checkpoint = Checkpoint::open(&folder).unwrap();
    assert_eq!(
        (checkpoint.spec().model_type.as_str(), checkpoint.spec().layout),
        ("gemma3", WeightLayout::Gemma3Multimodal)
    );
    let expected = computed(&folder);
    // In the names of a text model alone.
    let plain = |name: &str| {
        let (prefixes, to) = (["language_model.model.", "model.language_model."], "model.");
        prefixes.iter().find_map(|from| Some(format!("{to}{}", name.strip_prefix(from)?))).unwrap_or(name.to_owned())
    };
    for (text, images) in [("language_model.model.", ""), ("model.language_model.", "model."), ("language_model.", "")]
    {
        let (_scratch, folder) = copy_of("families/gemma3-multimodal");
        rewrite(&folder, |tensors| {
            for (name, _) in tensors.iter_mut() {
                let bare = plain(name);
                *name = match bare.strip_prefix("model.") {
                    Some(rest) if !rest.starts_with("vision") && !rest.starts_with("multi") => format!("{text}{rest}"),
                    Some(rest) => format!("{images}{rest}"),
                    None if bare.starts_with("lm_head") => format!("language_model.{bare}"),
                    None => format!("{images}{bare}"),
                };
            }
            let view = TensorView::new(Dtype::I8, vec![1], &[0]).unwrap();
            tensors.push((format!("{images}vision_tower.vision_model.post_layernorm.steps"), view));
        });
        assert_eq!(computed(&folder), expected, "{text}");
    }
    // Alone, as a text model is saved.
    let (_scratch_of_text, alone) = copy_of("families/gemma3-multimodal");
    let config = config_of(&alone);
    let mut text = config["text_config"].clone();
    (text["dtype"], text["model_type"]) = (config["dtype"].clone(), json!("gemma3_text"));
    std::fs::write(alone.join("config.json"), text.to_string()).unwrap();
    rewrite(&alone, |tensors| {
        tensors.retain(|(name, _)| !name.contains("vision_tower") && !name.contains("multi_modal_projector"));
        for (name, _) in tensors.iter_mut() {
            *name = plain(name);
        }
    });
    assert_eq!(computed(&alone), expected);
    rewrite(&folder, |tensors| {
        let view = TensorView::new(Dtype::F32, vec![1], &[0; 4]).unwrap();
        tensors.push(("model.audio_tower.weight".to_owned(), view));
    });
    assert_says(&refusal(&folder), &["model.audio_tower.weight", "no layer takes"]);
}

/// The values are those of `Gemma3TextConfig` in transformers.
#[test]
fn keys_that_text_config_leaves_out_have_the_values_of_transformers() {
    let text = json!({
        "hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024,
    });
    let outer = json!({
        "architectures": ["Gemma3ForConditionalGeneration"], "boi_token_index": 255_999, "eoi_token_index": 256_000,
        "eos_token_id": [1, 106], "image_token_index": 262_144, "initializer_range": 0.02, "mm_tokens_per_image": 256,
        "model_type": "gemma3", "text_config": text, "torch_dtype": "bfloat16", "vision_config": {"hidden_size": 1152},
    });
    let spec = configuration(&outer).unwrap();
    assert_eq!((spec.vocab_size, spec.context_length, spec.head), (262_208, 131_072, HeadWeights::Tied));
    let attention = &spec.attention;
    assert_eq!((attention.n_heads, attention.n_kv_heads, attention.head_dim), (8, 4, 256));
    assert_eq!((attention.scale.to_bits(), spec.norm.epsilon.to_bits()), (0.0625_f64.to_bits(), 1e-6_f64.to_bits()));
    assert_eq!(spec.windows[..6], [Some(1024), Some(1024), Some(1024), Some(1024), Some(1024), None]);
    let PositionSpec::Rotary { ropes, of_block } = &spec.positions else { panic!("{:?}", spec.positions) };
    assert_eq!(of_block[..6], [1, 1, 1, 1, 1, 0]);
    assert_eq!(ropes.iter().map(|rope| rope.theta).collect::<Vec<_>>(), [1e6, 1e4]);

    for (key, value, words) in [
        ("final_logit_softcapping", json!(-1), "text_config.final_logit_softcapping is -1"),
        ("model_type", json!("qwen2"), "text_config.model_type is qwen2"),
        ("use_bidirectional_attention", json!(true), "text_config.use_bidirectional_attention is true"),
        ("residual_scale", json!(2), "unknown field `text_config.residual_scale`"),
    ] {
        let mut config = outer.clone();
        config["text_config"][key] = value;
        assert_says(&configuration(&config).unwrap_err(), &[words]);
    }
    let mut config = outer.clone();
    config["tie_word_embeddings"] = json!(false);
    assert_eq!(configuration(&config).unwrap().head, HeadWeights::Own);
    config["text_config"]["tie_word_embeddings"] = json!(true);
    assert_says(&configuration(&config).unwrap_err(), &["text_config.tie_word_embeddings is true, expected false"]);
    config.as_object_mut().unwrap().remove("text_config");
    assert_says(&configuration(&config).unwrap_err(), &["missing field `text_config`"]);
}

#[test]
fn a_window_that_is_said_twice() {
    let (_scratch, folder) = copy_of("families/gemma2");
    set(&folder, "sliding_window_size", json!(6));
    set(&folder, "_attn_implementation", json!("eager"));
    Checkpoint::open(&folder).unwrap();
    set(&folder, "sliding_window_size", json!(8));
    assert_says(&refusal(&folder), &["sliding_window_size is 8, expected 6", "Remove the wrong one"]);
}

#[test]
fn keys_of_any_model_pass_at_their_defaults_and_are_refused_by_name_at_others() {
    for (key, value) in [
        ("unsloth_fixed", json!(true)),
        ("unsloth_version", json!("2024.9")),
        ("_num_labels", json!(2)),
        ("_attn_implementation", json!("sdpa")),
        ("attention_probs_dropout_prob", json!(0.1)),
        ("resid_pdrop", json!(0.1)),
        ("summary_type", json!("cls_index")),
        ("max_sequence_length", json!(2048)),
        ("temperature", json!(0.7)),
        ("max_length", json!(4096)),
        ("pruned_heads", json!({})),
        ("add_cross_attention", json!(false)),
        ("cross_attention_hidden_size", Value::Null),
        ("is_encoder_decoder", json!(false)),
        ("anything_that_is_null", Value::Null),
    ] {
        let (_scratch, folder) = checkpoint();
        set(&folder, key, value);
        Checkpoint::open(&folder).unwrap_or_else(|error| panic!("{key}: {error}"));
    }
    for (key, value) in [
        ("pruned_heads", json!({"0": [1]})),
        ("add_cross_attention", json!(true)),
        ("cross_attention_hidden_size", json!(64)),
        ("is_encoder_decoder", json!(true)),
        ("attention_chunk_size", json!(8)),
        ("draft_vocab_size", json!(32000)),
    ] {
        let (_scratch, folder) = checkpoint();
        set(&folder, key, value.clone());
        let message = refusal(&folder);
        assert_says(&message, &["config.json", key, &value.to_string()]);
        assert!(message.to_lowercase().contains("remove it if"), "{message}");
    }
}

#[test]
fn a_llama_without_its_context_length() {
    let (_scratch, folder) = copy_of("decoder/llama2");
    let mut config = config_of(&folder);
    config.as_object_mut().unwrap().remove("max_position_embeddings");
    assert_eq!(configuration(&config).unwrap().context_length, 2048);
    config["max_sequence_length"] = json!(4096);
    assert_eq!(configuration(&config).unwrap().context_length, 4096);
    // As transformers reads it, the newer name counts.
    config["max_position_embeddings"] = json!(512);
    assert_eq!(configuration(&config).unwrap().context_length, 512);
}

#[test]
fn what_the_smaller_families_do_not_compute_is_refused_by_name() {
    for (name, key, value, words) in [
        ("gpt-neo", "attention_types", json!([[["global"], 2]]), "attention_types is fewer entries"),
        ("gpt-neo", "attention_types", json!([[["global", "local"], 1_u64 << 60]]), "attention_types is more entries"),
        ("gpt-neo", "attention_layers", json!(["global", "global", "global"]), "attention_layers is another list"),
        ("gptj", "rotary_dim", json!(13), "rotary_dim is 13, expected 1 to 12"),
        ("gptj", "rotary_dim", Value::Null, "missing field `rotary_dim`"),
        ("phi", "qk_layernorm", json!(true), "qk_layernorm is true"),
        ("opt", "do_layer_norm_before", json!(false), "do_layer_norm_before is false"),
        ("opt", "word_embed_proj_dim", json!(12), "word_embed_proj_dim is 12, expected hidden_size, 24"),
        ("phi4", "lm_head_bias", json!(true), "lm_head_bias is true"),
        ("phi4", "full_attn_mod", json!(2), "full_attn_mod is 2, expected 1 or absent"),
    ] {
        let mut config = config_of(&fixture("families").join(name));
        config[key] = value;
        assert_says(&configuration(&config).unwrap_err(), &["config.json", words]);
    }
}

#[test]
fn sequences_beyond_the_original_context_of_longrope_are_refused() {
    let mut config = config_of(&fixture("families/phi4"));
    assert_eq!(configuration(&config).unwrap().context_length, 32);
    let rope = &mut config["rope_parameters"];
    rope["long_factor"] = rope["short_factor"].clone();
    assert_eq!(configuration(&config).unwrap().context_length, 64);
}

#[test]
fn shards_without_their_index() {
    let (_scratch, folder) = checkpoint();
    std::fs::rename(folder.join(WEIGHTS), folder.join("model-00001-of-00002.safetensors")).unwrap();
    let message = refusal(&folder);
    assert_says(&message, &["model-00001-of-00002.safetensors", "model.safetensors.index.json"]);
}
