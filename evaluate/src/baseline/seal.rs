//! A baseline as the bytes of a file, in which no bit can change unseen.

use serde::{Deserialize, Serialize};

use super::shelf::{Key, ShardSums};

/// The version of the files' layout and of what their numbers mean.
pub(super) const FORMAT: u32 = 4;

/// A file, without its hash.
#[derive(Serialize, Deserialize)]
pub(super) struct Record<K, S> {
    pub(super) format: u32,
    pub(super) manifest_blake3: String,
    pub(super) key: K,
    pub(super) shards: Vec<S>,
}

/// A file: its hash is that of `baseline` as compact JSON, and it is laid out in one way only.
#[derive(Serialize, Deserialize)]
struct Sealed<R> {
    blake3: String,
    baseline: R,
}

/// The record in a file's bytes; `None` where they are not, to the last one, those that [`seal`] makes of it.
pub(super) fn unseal<K: Key, S: ShardSums>(bytes: &[u8]) -> Option<Record<K, S>> {
    let Sealed { baseline, .. }: Sealed<Record<K, S>> = serde_json::from_slice(bytes).ok()?;
    (seal(&baseline).ok()? == bytes).then_some(baseline)
}

/// The bytes of a file.
pub(super) fn seal<K: Key, S: ShardSums>(baseline: &Record<K, S>) -> serde_json::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(&Sealed { blake3: hash(baseline)?, baseline })?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn hash<K: Key, S: ShardSums>(baseline: &Record<K, S>) -> serde_json::Result<String> {
    Ok(blake3::hash(&serde_json::to_vec(baseline)?).to_hex().to_string())
}
