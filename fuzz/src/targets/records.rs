//! The three JSON files of a cache, in a cache that is whole but for them.

use std::path::{Path, PathBuf};

use hayloft_store::{Cache, PlanReader, Shard, fuzzing, inspect, verify};
use serde_json::{Map, Value, json};

use crate::guarded::scratch;
use crate::outcome::words;
use crate::{Outcome, seeds};

/// More shards than any seed has.
const MOST_SHARDS: usize = 8;

fn cache() -> PathBuf {
    scratch::folder("cache", seeds::cache::write)
}

/// `manifest.json`, its checksum put right.
pub(super) fn manifest(input: &[u8]) -> Outcome {
    let folder = cache();
    scratch::write(&folder.join("manifest.json"), &fuzzing::sealed(input));
    everything(&folder)
}

/// `plan.json`, its checksum put right.
pub(super) fn plan(input: &[u8]) -> Outcome {
    let folder = cache();
    scratch::write(&folder.join("plan.json"), &fuzzing::sealed(input));
    let plan = PlanReader::open(&folder).map_err(words)?;
    for index in 0..plan.plan().shards.len().min(MOST_SHARDS) {
        plan.sequences_and_tokens(index).map_err(words)?;
    }
    Ok(())
}

/// `shard.json` of the first shard, under a manifest that agrees with whatever it says.
pub(super) fn shard(input: &[u8]) -> Outcome {
    let folder = cache();
    let sealed = fuzzing::sealed(input);
    scratch::write(&folder.join("shards/00000/shard.json"), &sealed);
    let shard: Value = serde_json::from_slice(&sealed).map_err(words)?;
    let manifest = agreeing_manifest(&shard, &sealed);
    scratch::write(&folder.join("manifest.json"), &manifest);
    let read = read(&folder);
    // Its sums are not those of the shard, so that it finds that at least.
    verify(&folder, &mut |_| {}).map_err(words)?;
    read
}

/// Reads all that a cache has, and checks it as `store verify` does.
fn everything(folder: &Path) -> Outcome {
    let read = read(folder);
    let report = verify(folder, &mut |_| {}).map_err(words)?;
    read?;
    report.damages.first().map_or(Ok(()), |damage| Err(words(&damage.problem)))
}

fn read(folder: &Path) -> Outcome {
    let cache = Cache::open(folder).map_err(words)?;
    let summary = inspect(folder).map_err(words)?;
    drop(serde_json::to_vec(&summary).map_err(words)?);
    let places = 0..cache.shards().min(MOST_SHARDS);
    // All of them, whatever the first one gives.
    places.map(|place| whole_shard(&cache.shard(place))).collect::<Vec<_>>().into_iter().collect()
}

pub(super) fn whole_shard(shard: &hayloft_store::Result<Shard>) -> Outcome {
    let shard = shard.as_ref().map_err(words)?;
    shard.tokens().map_err(words)?;
    shard.predictions().map_err(words)?;
    let mut bits = Vec::new();
    for site in &shard.contents().settings.sites {
        shard.norms(site).map_err(words)?;
        let reader = shard.activations(site).map_err(words)?;
        for row_group in 0..reader.row_groups() {
            reader.read(row_group, &mut bits).map_err(words)?;
        }
    }
    Ok(())
}

/// The manifest of a cache that holds this shard alone, made up to fit a made-up shard.
fn agreeing_manifest(shard: &Value, bytes: &[u8]) -> Vec<u8> {
    /// A manifest that says more has to be that long itself.
    const LONGEST_MEAN: u64 = 1 << 12;
    let settings = &shard["settings"];
    let width = &settings["model"]["d_model"];
    let mean = vec![0.0; width.as_u64().filter(|width| *width <= LONGEST_MEAN).unwrap_or(0) as usize];
    let site = |name: &Value| {
        json!({
            "name": name, "d_model": width, "rows": 1, "non_finite_rows": 0, "mean_norm": 0.0, "mean": mean,
        })
    };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let sites: Vec<Value> = list(&settings["sites"]).iter().map(site).collect();
    let own = json!({ "path": "shard.json", "bytes": bytes.len(), "blake3": fuzzing::blake3(bytes) });
    let files: Vec<Value> = std::iter::once(own).chain(list(&shard["files"])).collect();
    let mut manifest: Map<String, Value> = serde_json::from_slice(&seeds::cache::manifest()).unwrap_or_default();
    manifest.remove("checksum");
    for (key, value) in [
        ("format", &shard["format"]),
        ("plan_blake3", &shard["plan_blake3"]),
        ("model", &settings["model"]),
        ("predictions", &settings["predictions"]),
        ("codec", &settings["codec"]),
        ("dtype", &settings["dtype"]),
        ("held", &shard["counts"]),
    ] {
        manifest.insert(key.to_owned(), value.clone());
    }
    manifest.insert("sites".to_owned(), sites.into());
    let record = json!({ "index": shard["index"], "path": "shards/00000", "counts": shard["counts"], "files": files });
    // Twice, so that what is added up over shards is more than one number.
    manifest.insert("shards".to_owned(), vec![record.clone(), record].into());
    // What is sealed again must look as if it had been sealed before.
    manifest.insert("checksum".to_owned(), "0".repeat(64).into());
    let text = serde_json::to_string_pretty(&manifest).unwrap_or_default() + "\n";
    fuzzing::sealed(text.as_bytes())
}
