//! The identity of models, which `scripts/goldens/model_identity.py` computes with transformers and Python's hashlib.

use std::collections::BTreeMap;

use hayloft_checkpoint::Checkpoint;
use hayloft_runtime::ModelIdentity;
use serde::Deserialize;

use crate::support::fixture;

#[derive(Deserialize)]
struct Golden {
    facts: BTreeMap<String, String>,
    tensors_sha256: String,
    sha256: String,
}

fn goldens() -> BTreeMap<String, Golden> {
    serde_json::from_slice(&std::fs::read(fixture("model-identity.json")).unwrap()).unwrap()
}

#[test]
fn the_identity_of_every_fixture_is_that_of_the_recipe_in_python() {
    for (name, Golden { facts, tensors_sha256, sha256 }) in goldens() {
        let identity = Checkpoint::open(&fixture(&name)).unwrap().identity(&|_| {}).unwrap();
        assert_eq!(identity.facts, facts, "{name}");
        assert_eq!((identity.sha256(), &identity), (sha256, &ModelIdentity { facts, tensors_sha256 }), "{name}");
    }
}

#[test]
fn only_the_same_model_has_the_same_identity() {
    let goldens = goldens();
    // Another `tie_word_embeddings`, and the same head in the files.
    assert_eq!(goldens["decoder/llama2"].sha256, goldens["decoder/tied-llama2-own-head"].sha256);
    let mut digests: Vec<&str> = goldens.values().map(|golden| golden.sha256.as_str()).collect();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), goldens.len() - 1);
}
