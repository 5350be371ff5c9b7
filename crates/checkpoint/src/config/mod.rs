//! `config.json` of every family, resolved to a [`DecoderSpec`].
//!
//! Each family has a file that takes every key that its forward pass depends on. Keys that never affect the forward pass are
//! listed by name and ignored (`generic.rs`). Any other key is refused, because it may change the function that the model
//! computes.

mod gemma;
mod gemma2;
mod gemma3;
mod generic;
mod gpt2;
mod gpt_neo;
mod gpt_neox;
mod gptj;
mod keys;
mod layer_types;
mod llama;
mod mistral;
mod olmo2;
mod opt;
mod phi;
mod phi3;
mod qwen2;
mod qwen3;
mod rope;
mod start;

use std::path::Path;

use hayloft_runtime::Dtype;
use serde_json::Value;

use self::keys::Keys;
use crate::error::CheckpointError;
use crate::spec::{AttentionSpec, DecoderSpec, RopeScaling};

/// Takes a family's keys and resolves them.
type Family = fn(&mut Keys) -> Result<DecoderSpec, CheckpointError>;

/// The supported values of `model_type`.
const FAMILIES: &[(&str, Family)] = &[
    ("llama", llama::read),
    ("mistral", mistral::read),
    ("qwen2", qwen2::read),
    ("qwen3", qwen3::read),
    ("gemma", gemma::read),
    ("gemma2", gemma2::read),
    ("gemma3", gemma3::read_beside_images),
    ("gemma3_text", gemma3::read),
    ("gpt2", gpt2::read),
    ("gpt_neo", gpt_neo::read),
    ("gpt_neox", gpt_neox::read),
    ("gptj", gptj::read),
    ("phi", phi::read),
    ("phi3", phi3::read),
    ("olmo2", olmo2::read),
    ("opt", opt::read),
];

/// More blocks than any model has. Bounds the allocations that a hostile file can cause.
const MOST_BLOCKS: usize = 1 << 16;

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
pub(crate) fn read(path: &Path) -> Result<ModelConfig, CheckpointError> {
    let mut keys = Keys::read(path)?;
    let family = family(&mut keys)?;
    generic::pass_over(&mut keys)?;
    let precision = precision(&mut keys)?;
    let quantisation = keys.take("quantization_config")?;
    let mut spec = family(&mut keys)?;
    keys.finish()?;
    check(&keys, &spec)?;
    limit_context(path, &mut spec);
    Ok(ModelConfig { spec, precision, quantisation })
}

/// Takes `model_type` and returns the family that it names.
fn family(keys: &mut Keys) -> Result<Family, CheckpointError> {
    let (got, advice) = match keys.take("model_type")? {
        Some(Value::String(name)) => match FAMILIES.iter().find(|(family, _)| *family == name) {
            Some((_, family)) => return Ok(*family),
            None => (name, "Hayloft does not run this architecture"),
        },
        Some(other) => (other.to_string(), "Add the key"),
        None => ("absent".to_owned(), "Add the key"),
    };
    let mut names: Vec<&str> = FAMILIES.iter().map(|(name, _)| *name).collect();
    let last = names.pop().unwrap_or_default();
    Err(keys.unsupported("model_type", &got, &format!("{} or {last}", names.join(", ")), advice))
}

/// Takes the number type of the weights, in the new spelling or the old.
fn precision(keys: &mut Keys) -> Result<Option<Dtype>, CheckpointError> {
    let older: Option<Value> = keys.take("torch_dtype")?;
    let expected = "float32, bfloat16 or float16";
    match keys.take("dtype")?.or(older) {
        None => Ok(None),
        Some(Value::String(name)) => name
            .parse()
            .map(Some)
            .map_err(|_| keys.unsupported("dtype", &name, expected, "Quantised checkpoints are not read")),
        Some(other) => Err(keys.unsupported("dtype", &other.to_string(), expected, "Mend the file")),
    }
}

/// Shortens the context to what the rotary embedding is computed for, and says so.
fn limit_context(path: &Path, spec: &mut DecoderSpec) {
    let longest = spec.ropes().iter().filter_map(|rope| match rope.scaling {
        RopeScaling::LongRope { longest, .. } => Some(longest),
        _ => None,
    });
    let longest = longest.min().unwrap_or(spec.context_length);
    if longest < spec.context_length {
        tracing::info!(
            "{}: longrope: sequences of up to {longest} tokens (original_max_position_embeddings) are computed, by short_factor; those of up to {} (max_position_embeddings), which transformers computes by long_factor, are not",
            path.display(),
            spec.context_length
        );
        spec.context_length = longest;
    }
}

/// Refuses impossible shapes, before any allocation depends on them.
fn check(keys: &Keys, spec: &DecoderSpec) -> Result<(), CheckpointError> {
    const LARGEST: usize = 1 << 24;
    let AttentionSpec { n_heads, n_kv_heads, head_dim, .. } = spec.attention;
    for (key, value, most) in [
        ("vocab_size", spec.vocab_size, LARGEST),
        ("hidden_size", spec.d_model, LARGEST),
        ("max_position_embeddings", spec.context_length, LARGEST),
        ("num_attention_heads", n_heads, LARGEST),
        ("num_key_value_heads", n_kv_heads, LARGEST),
        ("head_dim", head_dim, LARGEST),
        ("intermediate_size", spec.mlp.d_mlp, LARGEST),
        ("num_hidden_layers", spec.n_blocks, MOST_BLOCKS),
    ] {
        if value == 0 || value > most {
            return Err(keys.unsupported(key, &value.to_string(), &format!("1 to {most}"), "Mend the file"));
        }
    }
    if n_heads % n_kv_heads != 0 {
        let expected = format!("a divisor of num_attention_heads, {n_heads}");
        return Err(keys.unsupported("num_key_value_heads", &n_kv_heads.to_string(), &expected, "Mend the file"));
    }
    if let Some(rope) = spec.ropes().iter().find(|rope| rope.dimensions % 2 != 0) {
        let advice = "Rotary embedding turns pairs of numbers";
        return Err(keys.unsupported("head_dim", &rope.dimensions.to_string(), "an even number", advice));
    }
    if spec.windows.contains(&Some(0)) {
        return Err(keys.unsupported("sliding_window", "0", "null or at least 1", "Mend the file"));
    }
    Ok(())
}
