//! The digest over a decoder's tensors.

use std::fmt::Write as _;

use hayloft_runtime::{Dtype, sha256_hex, user_cache};

use super::digests::Digests;
use crate::error::CheckpointError;
use crate::spec::{DecoderSpec, HeadWeights};
use crate::weights::{Entry, WeightFiles, tensor_names};

/// Version of the recipe, the first line of the hashed text.
const VERSION: &str = "hayloft tensors 1";

/// Digests of smaller files, in bytes, are not kept: hashing takes no longer than looking up.
const SMALLEST_KEPT: u64 = 4 << 20;

/// SHA-256 over name, type, shape and digest of each tensor, in the order of the names. An unembedding that equals the
/// embedding does not count.
pub(crate) fn tensors_sha256(
    weights: &WeightFiles,
    spec: &DecoderSpec,
    hashed: &(dyn Fn(u64) + Sync),
) -> Result<String, CheckpointError> {
    let cache = user_cache().filter(|folder| !folder.to_string_lossy().contains("://"));
    let digests = Digests::of(weights, cache.as_deref(), SMALLEST_KEPT, hashed)?;
    let outer = tensor_names::of(spec.layout);
    let line = |entry: &Entry| {
        let shape: Vec<String> = entry.shape.iter().map(usize::to_string).collect();
        format!("{} {} {}", type_name(entry.dtype), shape.join("x"), digests.get(entry))
    };
    let embedding = weights.entries().get(outer.embedding).map(line);
    let mut text = format!("{VERSION}\n");
    for (name, entry) in weights.entries() {
        let line = line(entry);
        let is_embedding = name == outer.head && (spec.head == HeadWeights::Tied || Some(&line) == embedding.as_ref());
        if !is_embedding {
            // Writing to a string never fails.
            let _ = writeln!(text, "{name} {line}");
        }
    }
    Ok(sha256_hex(text.as_bytes()))
}

/// The name of a type in safetensors.
fn type_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F32 => "F32",
        Dtype::Bf16 => "BF16",
        Dtype::F16 => "F16",
    }
}
