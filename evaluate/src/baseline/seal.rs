//! File format of baselines: safetensors, sealed by a hash of all preceding bytes, which detects any changed bit.
//!
//! Tensors, with shards in order:
//!
//! - each count under its own name, u64 `[shards]`; one of them is `shard`, the shard's number in the plan;
//! - each list of numbers, concatenated over shards, f64; its length per shard is in `NAME.lengths`, u64 `[shards]`;
//! - `subsets`, JSON: a list per shard of the subset names that some of its lists are indexed by;
//! - `seal`, the last tensor: the BLAKE3 of every byte before it.
//!
//! The metadata hold the format version, the manifest's hash and the baseline's key.

use std::io;

use hayloft_runtime::{TensorBytes, safetensors};
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::shard_sums::{Key, ShardSums};

/// Version of the file layout and of the meaning of its numbers.
pub(super) const FORMAT: u32 = 1;

/// Metadata key of the `About` record.
const ABOUT: &str = "hayloft_baseline";

/// Name of the tensor of subset names.
const SUBSETS: &str = "subsets";

/// Size of a BLAKE3 hash in bytes.
const SEAL_BYTES: usize = 32;

/// The contents of a file.
pub(super) struct Record<K, S> {
    pub(super) about: About<K>,
    pub(super) shards: Vec<S>,
}

/// Identifies the cache and the baseline.
#[derive(Serialize, Deserialize)]
pub(super) struct About<K> {
    pub(super) format: u32,
    pub(super) manifest_blake3: String,
    pub(super) key: K,
}

/// Parses the bytes of a file; `None` if they are not exactly what [`seal`] wrote.
pub(super) fn unseal<K: Key, S: ShardSums>(bytes: &[u8]) -> Option<Record<K, S>> {
    let body = bytes.len().checked_sub(SEAL_BYTES)?;
    if blake3::hash(&bytes[..body]).as_bytes() != &bytes[body..] {
        return None;
    }
    let (_, metadata) = SafeTensors::read_metadata(bytes).ok()?;
    let about: About<K> = serde_json::from_str(metadata.metadata().as_ref()?.get(ABOUT)?).ok()?;
    let tensors = SafeTensors::deserialize(bytes).ok()?;
    let words = |name: &str, dtype: Dtype| -> Option<Vec<[u8; 8]>> {
        let view = tensors.tensor(name).ok().filter(|view| view.dtype() == dtype)?;
        Some(view.data().as_chunks::<8>().0.to_vec())
    };
    let numbers = |name: &str| Some(words(name, Dtype::U64)?.into_iter().map(u64::from_le_bytes).collect::<Vec<u64>>());
    let counts: Vec<Vec<u64>> = S::COUNTS.iter().map(|name| numbers(name)).collect::<Option<_>>()?;
    let lengths: Vec<Vec<u64>> = S::LISTS.iter().map(|name| numbers(&lengths_name(name))).collect::<Option<_>>()?;
    let values: Vec<Vec<[u8; 8]>> = S::LISTS.iter().map(|name| words(name, Dtype::F64)).collect::<Option<_>>()?;
    let names = tensors.tensor(SUBSETS).ok().filter(|view| view.dtype() == Dtype::U8)?;
    let subsets: Vec<Vec<Option<String>>> = serde_json::from_slice(names.data()).ok()?;
    let mut left: Vec<_> = values.iter().map(|values| values.iter()).collect();
    let mut shards = Vec::new();
    for place in 0..counts.first()?.len() {
        let own: Vec<u64> = counts.iter().map(|counts| counts.get(place).copied()).collect::<Option<_>>()?;
        let mut lists = Vec::with_capacity(left.len());
        for (lengths, left) in lengths.iter().zip(&mut left) {
            let length = usize::try_from(*lengths.get(place)?).ok().filter(|length| *length <= left.len())?;
            lists.push(left.by_ref().take(length).map(|word| f64::from_le_bytes(*word)).collect());
        }
        shards.push(S::of(&own, lists, subsets.get(place)?)?);
    }
    Some(Record { about, shards })
}

/// Serialises a record to the bytes of a file.
pub(super) fn seal<K: Key, S: ShardSums>(record: &Record<K, S>) -> io::Result<Vec<u8>> {
    let Record { about, shards } = record;
    let mut tensors: Vec<(String, Dtype, Vec<u8>)> = Vec::new();
    let counts: Vec<Vec<u64>> = shards.iter().map(S::counts).collect();
    for (place, name) in S::COUNTS.iter().enumerate() {
        let bytes = counts.iter().flat_map(|own| own[place].to_le_bytes()).collect();
        tensors.push(((*name).to_owned(), Dtype::U64, bytes));
    }
    let lists: Vec<_> = shards.iter().map(S::lists).collect();
    for (place, name) in S::LISTS.iter().enumerate() {
        let values = lists.iter().flat_map(|own| own[place].iter());
        tensors.push(((*name).to_owned(), Dtype::F64, values.flat_map(|value| value.to_le_bytes()).collect()));
        let lengths = lists.iter().flat_map(|own| (own[place].len() as u64).to_le_bytes());
        tensors.push((lengths_name(name), Dtype::U64, lengths.collect()));
    }
    let mut borrowed: Vec<TensorBytes<'_>> = tensors
        .iter()
        .map(|(name, dtype, bytes)| (name.clone(), *dtype, vec![bytes.len() / 8], bytes.as_slice()))
        .collect();
    let names = serde_json::to_vec(&shards.iter().map(S::subsets).collect::<Vec<_>>())?;
    borrowed.push((SUBSETS.to_owned(), Dtype::U8, vec![names.len()], &names));
    borrowed.push(("seal".to_owned(), Dtype::U8, vec![SEAL_BYTES], &[0; SEAL_BYTES]));
    let mut file = safetensors(&[(ABOUT, serde_json::to_string(about)?)], &borrowed)?;
    let body = file.len() - SEAL_BYTES;
    let hash = blake3::hash(&file[..body]);
    file[body..].copy_from_slice(hash.as_bytes());
    Ok(file)
}

fn lengths_name(list: &str) -> String {
    format!("{list}.lengths")
}
