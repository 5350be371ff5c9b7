//! Partial results of a small evaluation, and of statistics of its latents.

use std::fs;

use hayloft_evaluate::{LatentsSettings, RunSettings, fuzzing};
use hayloft_results::Bootstrap;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::json;

use super::{Seed, cache};

const D_IN: usize = 5;
const D_SAE: usize = 3;

pub(super) fn seeds() -> Vec<Seed> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (cache, sae) = (folder.path().join("cache"), folder.path().join("sae"));
    cache::write(&cache);
    fs::create_dir(&sae).expect("a folder");
    let config = json!({
        "apply_b_dec_to_input": true, "architecture": "standard", "d_in": D_IN, "d_sae": D_SAE, "device": "cpu",
        "dtype": "float32", "normalize_activations": "none", "reshape_activations": "none",
        "metadata": {
            "context_size": 32, "hook_name": cache::site().to_string(), "model_name": "tiny", "prepend_bos": true,
            "sae_lens_version": "6.54.12",
        },
    });
    fs::write(sae.join("cfg.json"), config.to_string()).expect("a configuration");
    fs::write(sae.join("sae_weights.safetensors"), weights()).expect("weights");
    let latents = LatentsSettings { top: 2, sampled: 1, ..LatentsSettings::new(&cache, vec![sae.clone()], "") };
    let latents = fuzzing::only_part_of_latents(&latents).expect("a partial result");
    let plain = RunSettings { model: None, ..RunSettings::new("", &cache, vec![sae]) };
    let rich = RunSettings { bootstrap: Some(Bootstrap { resamples: 100 }), by_subset: true, ..plain.clone() };
    let seed = |(name, settings): (&str, &RunSettings)| {
        let bytes = fuzzing::only_part(settings).expect("a partial result");
        ("partial_result", name.to_owned(), bytes)
    };
    let mut seeds = [("plain", &plain), ("sequences", &rich)].map(seed).to_vec();
    seeds.push(("partial_latents", "exact".to_owned(), latents));
    seeds
}

fn weights() -> Vec<u8> {
    let shapes =
        [("W_enc", vec![D_IN, D_SAE]), ("W_dec", vec![D_SAE, D_IN]), ("b_dec", vec![D_IN]), ("b_enc", vec![D_SAE])];
    let number = 0.25f32.to_le_bytes();
    let tensors = shapes.map(|(name, shape)| (name, number.repeat(shape.iter().product()), shape));
    let views = tensors.iter().map(|(name, bytes, shape)| {
        (*name, TensorView::new(Dtype::F32, shape.clone(), bytes).expect("bytes that fit the shape"))
    });
    safetensors::serialize(views, None).expect("safetensors")
}
