//! `config.json` of every family, resolved to a [`DecoderSpec`].
//!
//! Each family has a struct with every key that its forward pass depends on. Keys that never affect the forward pass are
//! listed by name and ignored. Any other key is refused, because it may change the function that the model computes.

mod gemma;
mod gemma2;
mod gemma3;
mod gpt2;
mod gpt_neox;
mod layer_types;
mod llama;
mod mistral;
mod olmo2;
mod phi3;
mod qwen2;
mod qwen3;
mod rope;

use std::path::{Path, PathBuf};

use hayloft_runtime::Dtype;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{ModelError, read_json};
use crate::spec::{Activation, AttentionBias, AttentionSpec, DecoderSpec, HeadWeights, PositionSpec, RopeSpec};

/// Keys that describe how a checkpoint was made, trained or generates text, but do not affect its forward pass.
const INERT_KEYS: &[&str] = &[
    "_attn_implementation_autoset",
    "_from_model_config",
    "_name_or_path",
    "architectures",
    "attention_dropout",
    "auto_map",
    "bos_token_id",
    "chunk_size_feed_forward",
    "eos_token_id",
    "id2label",
    "initializer_range",
    "is_encoder_decoder",
    "is_llama_config",
    "keys_to_ignore_at_inference",
    "label2id",
    "model_type",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "pretraining_tp",
    "problem_type",
    "return_dict",
    "transformers.js_config",
    "transformers_version",
    "unk_token_id",
    "use_cache",
];

/// The parsed `config.json`.
#[derive(Debug)]
pub(crate) struct ModelConfig {
    /// The architecture of the model.
    pub spec: DecoderSpec,
    /// The number type of the saved weights, if given.
    pub precision: Option<Dtype>,
    /// The quantisation of the weights, if any. The spec then describes the model but not the tensors in its files.
    pub quantisation: Option<Value>,
}

/// Reads a checkpoint's `config.json`.
pub(crate) fn read(path: &Path) -> Result<ModelConfig, ModelError> {
    let mut keys: Map<String, Value> = read_json(path)?;
    let source = Source { path: path.to_path_buf() };
    let precision = source.precision(&mut keys)?;
    let model_type = match keys.get("model_type") {
        Some(Value::String(name)) => name.clone(),
        other => return Err(source.unsupported("model_type", &format!("{other:?}"), FAMILIES, "Add the key")),
    };
    let quantisation = keys.remove("quantization_config").filter(|value| !value.is_null());
    for key in INERT_KEYS {
        keys.remove(*key);
    }
    let keys = Value::Object(keys);
    let spec = match model_type.as_str() {
        "llama" => source.parse::<llama::LlamaConfig>(keys)?.resolve(&source)?,
        "mistral" => source.parse::<mistral::MistralConfig>(keys)?.resolve(&source)?,
        "qwen2" => source.parse::<qwen2::Qwen2Config>(keys)?.resolve(&source)?,
        "qwen3" => source.parse::<qwen3::Qwen3Config>(keys)?.resolve(&source)?,
        "gemma" => source.parse::<gemma::GemmaConfig>(keys)?.resolve(&source)?,
        "gemma2" => source.parse::<gemma2::Gemma2Config>(keys)?.resolve(&source)?,
        "gemma3_text" => source.parse::<gemma3::Gemma3Config>(keys)?.resolve(&source)?,
        "gemma3" => return Err(gemma3::refuse_images(&source, &keys)),
        "gpt2" => source.parse::<gpt2::Gpt2Config>(keys)?.resolve(&source)?,
        "gpt_neox" => source.parse::<gpt_neox::GptNeoXConfig>(keys)?.resolve(&source)?,
        "phi3" => source.parse::<phi3::Phi3Config>(keys)?.resolve(&source)?,
        "olmo2" => source.parse::<olmo2::Olmo2Config>(keys)?.resolve(&source)?,
        other => {
            let advice = "This architecture is not computed here; a family that merely shares its layers needs its own model_type";
            return Err(source.unsupported("model_type", other, FAMILIES, advice));
        }
    };
    source.check(&spec)?;
    Ok(ModelConfig { spec, precision, quantisation })
}

/// The supported values of `model_type`.
const FAMILIES: &str = "llama, mistral, qwen2, qwen3, gemma, gemma2, gemma3_text, gpt2, gpt_neox, phi3 or olmo2";

/// The file of a configuration, for messages.
struct Source {
    path: PathBuf,
}

impl Source {
    fn parse<T: DeserializeOwned>(&self, keys: Value) -> Result<T, ModelError> {
        serde_json::from_value(keys).map_err(|error| ModelError::Json {
            path: self.path.clone(),
            problem: format!(
                "{error}. A key that is not understood may change what the model computes, so it is refused"
            ),
        })
    }

    fn unsupported(&self, key: &str, got: &str, expected: &str, advice: &str) -> ModelError {
        ModelError::Unsupported {
            path: self.path.clone(),
            key: key.to_owned(),
            got: got.to_owned(),
            expected: expected.to_owned(),
            advice: advice.to_owned(),
        }
    }

    /// Removes the checkpoint's number type, in the new spelling or the old, from the keys.
    fn precision(&self, keys: &mut Map<String, Value>) -> Result<Option<Dtype>, ModelError> {
        let spelled = [keys.remove("dtype"), keys.remove("torch_dtype")];
        match spelled.into_iter().flatten().find(|value| !value.is_null()) {
            None => Ok(None),
            Some(Value::String(name)) => name.parse().map(Some).map_err(|_| {
                self.unsupported("dtype", &name, "float32, bfloat16 or float16", "Quantised checkpoints are not read")
            }),
            Some(other) => {
                Err(self.unsupported("dtype", &other.to_string(), "float32, bfloat16 or float16", "Mend the file"))
            }
        }
    }

    fn activation(&self, key: &str, name: &str) -> Result<Activation, ModelError> {
        match name {
            "silu" | "swish" => Ok(Activation::Silu),
            "gelu" => Ok(Activation::Gelu),
            "gelu_pytorch_tanh" | "gelu_new" | "gelu_fast" => Ok(Activation::GeluTanh),
            "relu" => Ok(Activation::Relu),
            _ => Err(self.unsupported(
                key,
                name,
                "silu, gelu, gelu_pytorch_tanh, gelu_new or relu",
                "Is this a model of another family?",
            )),
        }
    }

    /// Refuses a number that is present but not positive and finite.
    fn check_positive(&self, key: &str, value: Option<f64>) -> Result<(), ModelError> {
        match value.filter(|value| !value.is_finite() || *value <= 0.0) {
            None => Ok(()),
            Some(value) => Err(self.unsupported(key, &value.to_string(), "a number above zero", "Mend the file")),
        }
    }

    /// Refuses impossible shapes, before any allocation depends on them.
    fn check(&self, spec: &DecoderSpec) -> Result<(), ModelError> {
        const LARGEST: usize = 1 << 24;
        let too_many = |key: &str, value: usize, most: usize| {
            self.unsupported(key, &value.to_string(), &format!("1 to {most}"), "Mend the file")
        };
        let AttentionSpec { n_heads, n_kv_heads, head_dim, .. } = spec.attention;
        for (key, value) in [
            ("vocab_size", spec.vocab_size),
            ("hidden_size", spec.d_model),
            ("max_position_embeddings", spec.context_length),
            ("num_attention_heads", n_heads),
            ("num_key_value_heads", n_kv_heads),
            ("head_dim", head_dim),
            ("intermediate_size", spec.mlp.d_mlp),
        ] {
            if value == 0 || value > LARGEST {
                return Err(too_many(key, value, LARGEST));
            }
        }
        if spec.n_blocks == 0 || spec.n_blocks > MOST_BLOCKS {
            return Err(too_many("num_hidden_layers", spec.n_blocks, MOST_BLOCKS));
        }
        if n_heads % n_kv_heads != 0 {
            let got = n_kv_heads.to_string();
            let expected = format!("a divisor of num_attention_heads, {n_heads}");
            return Err(self.unsupported("num_key_value_heads", &got, &expected, "Mend the file"));
        }
        if let Some(rope) = spec.ropes().iter().find(|rope| rope.dimensions % 2 != 0) {
            let advice = "Rotary embedding turns pairs of numbers";
            return Err(self.unsupported("head_dim", &rope.dimensions.to_string(), "an even number", advice));
        }
        if spec.windows.contains(&Some(0)) {
            return Err(self.unsupported("sliding_window", "0", "null or at least 1", "Mend the file"));
        }
        Ok(())
    }
}

/// The same window for every block. Bounded, because the number of blocks has not been checked yet.
fn same_window(n_blocks: usize, window: Option<usize>) -> Vec<Option<usize>> {
    vec![window; n_blocks.min(MOST_BLOCKS)]
}

/// One rotary embedding for every block.
fn same_rope(n_blocks: usize, rope: RopeSpec) -> PositionSpec {
    PositionSpec::Rotary { ropes: vec![rope], of_block: vec![0; n_blocks.min(MOST_BLOCKS)] }
}

/// More blocks than any model has. Bounds the allocations that a hostile file can cause.
const MOST_BLOCKS: usize = 1 << 16;

/// The default activation of these families.
fn default_activation() -> String {
    "silu".to_owned()
}

/// The default norm epsilon of these families.
fn default_epsilon() -> f64 {
    1e-5
}

/// Default of a switch that is on when the key is absent.
fn default_true() -> bool {
    true
}

/// The sliding window when the key is absent, as opposed to `null`.
#[expect(clippy::unnecessary_wraps, reason = "serde wants the default of the field's own type")]
fn default_window() -> Option<usize> {
    Some(4096)
}

/// Width of a head, computed if the file does not give it.
fn head_dim(named: Option<usize>, hidden_size: usize, num_attention_heads: usize) -> usize {
    named.unwrap_or(hidden_size.checked_div(num_attention_heads).unwrap_or(0))
}

/// Where the unembedding is.
fn head(tie_word_embeddings: bool) -> HeadWeights {
    if tie_word_embeddings { HeadWeights::Tied } else { HeadWeights::Own }
}

/// Attention biases of families in which all projections have one or none do.
fn attention_bias(on: bool) -> AttentionBias {
    if on { AttentionBias::All } else { AttentionBias::None }
}

/// The usual scale of attention scores: `1 / sqrt(head_dim)`.
fn attention_scale(head_dim: usize) -> f64 {
    (head_dim as f64).powf(-0.5)
}
