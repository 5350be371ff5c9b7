//! Whole caches put together, extended, cut down, compared and repaired.

mod commands;
mod differing;
mod extending;
mod merging;
mod repairing;
mod selecting;

use std::fs;
use std::path::Path;

use hayloft_store::maintain::Files;
use hayloft_store::{
    Codec, Dtype, Existing, HarvestSettings, KeptPredictions, Manifest, PlanWriter, Result, StoreError, verify,
};

use crate::support::{corpus, fill_shard, identity, lengths, open, settings, shard_data, write_plan};

/// The settings that most tests use: predictions with all logits, so that every kind of file is there.
fn usual() -> HarvestSettings {
    let usual = settings(Dtype::Bf16, Codec::PLANES);
    HarvestSettings { predictions: Some(KeptPredictions { top_k: 2, full_logits: true }), ..usual }
}

fn at(settings: &HarvestSettings, sites: &[&str]) -> HarvestSettings {
    HarvestSettings { sites: sites.iter().map(|site| site.parse().unwrap()).collect(), ..settings.clone() }
}

/// A cache that has some of the plan's shards.
fn harvest_shards(folder: &Path, settings: &HarvestSettings, shards: &[usize]) -> Manifest {
    write_plan(folder, &lengths());
    fill(folder, settings, shards)
}

fn fill(folder: &Path, settings: &HarvestSettings, shards: &[usize]) -> Manifest {
    let mut writer = open(folder, settings, Existing::Resume).unwrap();
    for index in shards {
        if !writer.is_complete(*index) {
            let shard = fill_shard(&writer, *index).unwrap();
            writer.record(shard).unwrap();
        }
    }
    writer.finish().unwrap()
}

/// A cache of the same sequences under a plan that another tokenizer made.
fn harvest_by_other_tokenizer(folder: &Path, settings: &HarvestSettings) {
    let mut writer = PlanWriter::create(folder).unwrap();
    for shard in 0..lengths().len() {
        let (sequences, tokens) = shard_data(&lengths(), shard);
        writer.add_shard(&sequences, &tokens).unwrap();
    }
    let mut corpus = corpus();
    corpus.tokenizer.blake3 = "99".repeat(32);
    writer.finish(corpus).unwrap();
    fill(folder, settings, &[0, 1, 2]);
}

/// A cache of the same corpus cut in another way.
fn harvest_by_other_plan(folder: &Path, settings: &HarvestSettings) {
    let mut lengths = lengths();
    lengths[0][0][0] = 4;
    write_plan(folder, &lengths);
    fill(folder, settings, &[0, 1, 2]);
}

/// Settings that each differ from the usual ones in one thing, and the name that it must be refused by.
fn unlike() -> Vec<(&'static str, HarvestSettings)> {
    let usual = usual();
    let mut model = usual.clone();
    model.model.identity = Some(identity("33"));
    let mut facts = usual.clone();
    facts.model.identity.as_mut().unwrap().facts.insert("rope_theta".to_owned(), "500000".to_owned());
    vec![
        ("model.tensors", model),
        ("model.rope_theta", facts),
        ("dtype", HarvestSettings { dtype: Dtype::F16, ..usual.clone() }),
        ("codec", HarvestSettings { codec: Codec::RAW, ..usual.clone() }),
        ("predictions", HarvestSettings { predictions: Some(KeptPredictions::top(2)), ..usual }),
    ]
}

/// The error's field, of two caches that do not go together.
#[track_caller]
fn field_of<T: std::fmt::Debug>(result: Result<T>) -> String {
    match result.unwrap_err() {
        StoreError::Unlike { field, .. } => field.into(),
        other => panic!("{other}"),
    }
}

#[track_caller]
fn assert_whole(folder: &Path) {
    assert_eq!(verify(folder, &mut |_| ()).unwrap().damages, []);
}

/// Whether a file is Parquet, and no record.
fn is_table(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "parquet")
}

/// Changes a byte in the middle of a file.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    // A separate file, as after a fault of the disk; a link's other name would be hit too.
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Both ways in which files can get into a cache.
const WAYS: [Files; 2] = [Files::LinkOrCopy, Files::Copy];
