//! Harvesting a real trained model.

use std::path::Path;

use hayloft_harvest::{Logits, RunSettings, ShardRange, run};
use hayloft_runtime::{Progress, Stopping};
use hayloft_store::{Cache, Codec, Existing, NonFinite};

/// Tokens, losses and clean CE of the known answer: 60 sequences, 20,843 activations, 20,783 losses, 1.140634 nats,
/// computed with transformers.
#[test]
fn stories_have_the_known_clean_loss() {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let settings = RunSettings {
        model: root.join("tests/fixtures/stories260K"),
        data: Some(root.join("data-manifests/stories260K-eval.toml")),
        data_root: None,
        out: folder.path().join("cache"),
        shard_tokens: Some(8192),
        row_group_rows: None,
        sites: vec!["blocks.3.hook_resid_pre".parse().unwrap()],
        codec: Codec::PLANES,
        precision: None,
        device: tch::Device::Cpu,
        logits: Logits::Loss,
        shards: ShardRange::default(),
        existing: Existing::Refuse,
        share: None,
        stopping: Stopping::default(),
        non_finite: NonFinite::Refuse,
    };
    let summary = run(&settings, Progress::Silent).unwrap();
    assert_eq!((summary.tokens, summary.complete_shards), (20_843, 3));
    let cache = Cache::open(&settings.out).unwrap();
    let losses: Vec<f64> = (0..cache.shards())
        .flat_map(|index| cache.shard(index).unwrap().predictions().unwrap().unwrap().loss)
        .filter(|loss| !loss.is_nan())
        .map(f64::from)
        .collect();
    assert_eq!(losses.len(), 20_783);
    let clean = losses.iter().sum::<f64>() / losses.len() as f64;
    assert!((clean - 1.140_634).abs() < 2e-4, "{clean}");
}
