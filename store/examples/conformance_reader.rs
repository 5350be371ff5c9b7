//! Prints everything that a cache holds as JSON, in the form of `conformance/README.md`.
//!
//! ```text
//! cargo run -p hayloft-store --example conformance_reader -- CACHE
//! ```
#![expect(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

use hayloft_store::{ActivationReader, Cache, Codec, Dtype, Predictions, Result, Sequence, Shard, Tokens};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("usage: conformance_reader CACHE")?;
    println!("{:#}", contents(folder.as_ref())?);
    Ok(())
}

/// Returns what a cache holds. Reads every file but those of the plan.
pub fn contents(folder: &Path) -> Result<Value> {
    let cache = Cache::open(folder)?;
    let manifest = cache.manifest();
    let shards: Vec<Value> =
        (0..cache.shards()).map(|place| shard_contents(&cache.shard(place)?)).collect::<Result<_>>()?;
    Ok(json!({
        "format": manifest.format,
        "corpus": manifest.corpus,
        "settings": manifest.settings(),
        "shards": shards,
    }))
}

fn shard_contents(shard: &Shard) -> Result<Value> {
    let settings = &shard.contents().settings;
    let (mut norms, mut activations) = (Map::new(), Map::new());
    for site in &settings.sites {
        norms.insert(site.to_string(), json!(shard.norms(site)?));
        activations.insert(site.to_string(), rows(settings.codec, &shard.activations(site)?)?);
    }
    Ok(json!({
        "index": shard.record().index,
        "sequences": shard.sequences().iter().map(sequence).collect::<Vec<_>>(),
        "tokens": tokens(&shard.tokens()?),
        "predictions": shard.predictions()?.as_ref().map(predictions),
        "residual_norms": norms,
        "activations": activations,
        "logits": shard.logits()?.map(|reader| rows(settings.codec, &reader)).transpose()?,
    }))
}

fn sequence(sequence: &Sequence) -> Value {
    json!({
        "sequence": sequence.id,
        "document": sequence.document,
        "subset": sequence.subset,
        "first_row": sequence.first_row,
        "length": sequence.length,
        "row_group": sequence.row_group,
    })
}

fn tokens(tokens: &Tokens) -> Value {
    json!({
        "sequence": tokens.sequence,
        "position": tokens.position,
        "token": tokens.token,
        "section": tokens.section,
        "document": tokens.document,
        "subset": tokens.subset.iter().map(Option::as_deref).collect::<Vec<_>>(),
    })
}

/// Returns the predictions. A NaN becomes null.
fn predictions(predictions: &Predictions) -> Value {
    let Predictions { loss, logsumexp, entropy, top_k, top_ids, top_logits } = predictions;
    let mut columns = json!({ "loss": loss, "logsumexp": logsumexp, "entropy": entropy });
    if *top_k > 0 {
        columns["top_ids"] = json!(top_ids.chunks(*top_k).collect::<Vec<_>>());
        columns["top_logits"] = json!(top_logits.chunks(*top_k).collect::<Vec<_>>());
    }
    columns
}

/// Returns dtype, shape and SHA-256 of the decoded rows of a file.
fn rows(codec: Codec, reader: &ActivationReader) -> Result<Value> {
    let (mut count, mut words, mut hash) = (0, Vec::new(), Sha256::new());
    for row_group in 0..reader.row_groups() {
        reader.read(row_group, &mut words)?;
        if codec == Codec::INT8 {
            one_nan(&mut words);
        }
        hash.update(&words);
        count += reader.rows(row_group);
    }
    let mut sha256 = String::new();
    for byte in hash.finalize() {
        // Writing to a string does not fail.
        let _ = write!(sha256, "{byte:02x}");
    }
    let dtype: Dtype = reader.dtype();
    Ok(json!({ "dtype": dtype, "shape": [count, reader.d_model()], "sha256": sha256 }))
}

/// Replaces every NaN of f32 `words` by 0x7fc00000: the codec `int8` does not say which NaN is read.
fn one_nan(words: &mut [u8]) {
    for word in words.as_chunks_mut::<4>().0 {
        if f32::from_le_bytes(*word).is_nan() {
            *word = 0x7fc0_0000_u32.to_le_bytes();
        }
    }
}
