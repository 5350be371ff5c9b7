//! What an SAE's forward pass takes by how many of its latents fire: `cargo bench -p hayloft-evaluate`. One thread, 1024
//! tokens, 8192 latents of a residual stream of 512.
#![allow(missing_docs, reason = "the macros of the benches make functions")]

use divan::Bencher;
use divan::counter::ItemsCount;
use hayloft_sae::{Sae, SaeFile};
use serde_json::json;
use tch::{Device, Kind, Tensor};

const TOKENS: i64 = 1024;
const D_MODEL: i64 = 512;
const WIDTH: i64 = 8192;

/// Latents that fire on a token, of 8192.
const FIRING: [i64; 6] = [16, 64, 256, 512, 1024, 4096];

fn main() {
    divan::main();
}

fn random(shape: [i64; 2]) -> Tensor {
    Tensor::randn(shape, (Kind::Float, Device::Cpu))
}

/// An SAE in a folder as SAELens saves it, and rows on which about `firing` latents fire.
fn sae(firing: i64, architecture: &str) -> (Sae, Tensor) {
    tch::manual_seed(0);
    let (encoder, x) = (random([D_MODEL, WIDTH]) / (D_MODEL as f64).sqrt(), random([TOKENS, D_MODEL]));
    let (threshold, _) = x.mm(&encoder).topk(firing, -1, true, true);
    let threshold = threshold.select(1, firing - 1).mean(Kind::Double).double_value(&[]);
    let full = |value: f64| Tensor::full([WIDTH], value, (Kind::Float, Device::Cpu));
    let mut cfg = json!({
        "architecture": architecture, "d_in": D_MODEL, "d_sae": WIDTH, "dtype": "float32", "device": "cpu",
        "apply_b_dec_to_input": true, "normalize_activations": "none", "reshape_activations": "none",
        "metadata": {"hook_name": "blocks.0.hook_resid_pre"},
    });
    let mut weights = vec![
        ("W_dec", encoder.tr().contiguous()),
        ("b_dec", Tensor::zeros([D_MODEL], (Kind::Float, Device::Cpu))),
        ("W_enc", encoder),
    ];
    if architecture == "topk" {
        cfg["k"] = firing.into();
        weights.push(("b_enc", full(0.0)));
    } else {
        weights.push(("b_enc", full(-threshold)));
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("cfg.json"), cfg.to_string()).expect("a file");
    Tensor::write_safetensors(&weights, folder.path().join("sae_weights.safetensors")).expect("a file");
    (SaeFile::open(folder.path()).and_then(|file| file.load(Device::Cpu)).expect("an SAE"), x)
}

fn bench(bencher: Bencher<'_, '_>, firing: i64, architecture: &str) {
    let _no_grad = hayloft_model::become_worker();
    let (sae, x) = sae(firing, architecture);
    bencher.counter(ItemsCount::new(TOKENS as usize)).bench_local(|| sae.reconstruct(&x).expect("a reconstruction"));
}

#[divan::bench(args = FIRING)]
fn standard(bencher: Bencher<'_, '_>, firing: i64) {
    bench(bencher, firing, "standard");
}

#[divan::bench(args = [16, 64, 256])]
fn topk(bencher: Bencher<'_, '_>, firing: i64) {
    bench(bencher, firing, "topk");
}
