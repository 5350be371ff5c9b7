//! Deliberate misreadings of SAE files. Each must differ enough from the reference for the golden tests to detect it.

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use tch::{Device, Kind, Tensor};

use crate::file::SaeFile;
use crate::forward::Sae;
use crate::forward::activation::Activation;
use crate::normalisation::Normalisation;

/// A hundred times the tolerance of a correct reading.
const DETECTED: f64 = 1e-3;

fn fixture(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/sae-formats").join(case)
}

fn golden(case: &str, name: &str) -> Tensor {
    let path = if name == "x" { fixture("inputs.safetensors") } else { fixture(case).join("golden.safetensors") };
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(name).unwrap();
    let shape: Vec<i64> = view.shape().iter().map(|&size| size as i64).collect();
    Tensor::from_data_size(view.data(), &shape, Kind::Float)
}

/// The largest deviation of a case's reconstruction from its reference after a misreading.
fn distance_of(case: &str, misread: impl FnOnce(&mut Sae)) -> f64 {
    let mut sae =
        SaeFile::open(&fixture(case)).and_then(|file| file.load(Device::Cpu)).unwrap_or_else(|error| panic!("{error}"));
    sae.screen = None;
    misread(&mut sae);
    let got = sae.decode(&sae.encode(&golden(case, "x")).unwrap()).unwrap();
    (got - golden(case, "reconstruction")).abs().max().double_value(&[])
}

fn assert_detected(case: &str, what: &str, misread: impl FnOnce(&mut Sae)) {
    let read = distance_of(case, |_| ());
    assert!(read < 1e-4, "{case}: {read:e}");
    let distance = distance_of(case, misread);
    assert!(distance > DETECTED, "{case}: {what} is {distance:e} off only");
}

fn scope(kind: &str) -> String {
    format!("gemma-scope-2b-{kind}/layer_1/width_16k/average_l0_71")
}

#[test]
fn a_topk_read_as_a_relu() {
    for case in [
        "dictionary-learning-auto-encoder-top-k",
        "sparsify/layers.1",
        "sparsify-transcoder/layers.1.mlp",
        "openai-topk",
        "llamascopium-topk",
        "SAE-Res-Qwen3-1.7B-Base-W32K-L0_6",
        "sparsify-skip-2024/layers.1.mlp",
    ] {
        assert_detected(case, "TopK as ReLU", |sae| sae.activation = Activation::Relu);
        assert_detected(case, "another k", |sae| sae.activation = Activation::TopK { k: 7 });
    }
}

#[test]
fn a_threshold_that_is_passed_over() {
    let scopes = [scope("pt-res"), scope("pt-mlp"), scope("pt-att")];
    let others = [
        "gemma-scope-2-270m-pt/resid_post/layer_1_width_16k_l0_small",
        "gemma-scope-2-270m-pt/transcoder/layer_1_width_16k_l0_small",
        "llama-scope",
        "llamascopium-jumprelu",
        "saelens-jumprelu-transcoder",
        "dictionary-learning-jump-relu-auto-encoder",
        "dictionary-learning-batch-top-k-sae",
        "dictionary-learning-matryoshka-batch-top-k-sae",
    ];
    for case in scopes.iter().map(String::as_str).chain(others) {
        assert_detected(case, "no threshold", |sae| sae.activation = Activation::Relu);
    }
}

#[test]
fn a_decoder_bias_that_is_not_subtracted_or_wrongly_so() {
    let subtracted = [
        "dictionary-learning-auto-encoder",
        "dictionary-learning-gated-auto-encoder",
        "dictionary-learning-auto-encoder-top-k",
        "dictionary-learning-batch-top-k-sae",
        "dictionary-learning-matryoshka-batch-top-k-sae",
        "sparsify/layers.1",
        "openai-topk",
        "openai-relu",
        "attn-saes",
        "dictionary-learning-alone",
        "sparsify-skip-2024/layers.1.mlp",
    ];
    for case in subtracted {
        assert_detected(case, "unsubtracted bias", |sae| sae.input_bias = None);
    }
    let scope = scope("pt-res");
    for case in [
        scope.as_str(),
        "gemma-scope-2-270m-pt/resid_post/layer_1_width_16k_l0_small",
        "llama-scope",
        "dictionary-learning-auto-encoder-new",
        "dictionary-learning-jump-relu-auto-encoder",
        "llamascopium-topk",
        "goodfire",
        "goodfire-deepseek",
        "qwen3-4b-transcoders",
        "SAE-Res-Qwen3-1.7B-Base-W32K-L0_6",
    ] {
        assert_detected(case, "subtracted bias", |sae| sae.input_bias = Some(sae.decoder_bias.shallow_clone().into()));
    }
}

#[test]
fn a_scale_or_a_normalisation_that_is_forgotten() {
    // sqrt(16) over the average norm in hyperparams.json.
    let scale = 4.0 / 5.25;
    assert_detected("llama-scope", "unscaled encoder", |sae| sae.encoder = (&*sae.encoder / scale).into());
    assert_detected("llama-scope", "unscaled decoder", |sae| {
        sae.decoder = (&*sae.decoder * scale).into();
        sae.decoder_bias = (&*sae.decoder_bias * scale).into();
    });
    assert_detected("llama-scope", "unscaled threshold", |sae| {
        let Activation::JumpRelu { threshold } = &sae.activation else { panic!("expected a JumpReLU") };
        sae.activation = Activation::JumpRelu { threshold: (&**threshold / scale).into() };
    });
    let embeddings = "gemma-scope-2b-pt-res/embedding/width_4k/average_l0_6";
    assert_detected(embeddings, "unscaled encoder", |sae| sae.encoder = (&*sae.encoder * 4.0).into());
    assert_detected(embeddings, "unscaled decoder", |sae| sae.decoder = (&*sae.decoder / 4.0).into());
    assert_detected("openai-topk", "no layer norm", |sae| sae.normalisation = Normalisation::None);
    assert_detected("openai-relu", "layer norm", |sae| sae.normalisation = Normalisation::LayerNorm);
}

#[test]
fn latents_compared_without_their_decoder_norms() {
    for case in ["llamascopium-topk", "llamascopium-jumprelu"] {
        assert_detected(case, "plain comparison", |sae| {
            let norms = golden_norms(case);
            sae.encoder = (&*sae.encoder / norms.unsqueeze(-1)).into();
            sae.encoder_bias = (&*sae.encoder_bias / &norms).into();
            sae.decoder = (&*sae.decoder * norms.unsqueeze(-1)).into();
        });
    }
}

fn golden_norms(case: &str) -> Tensor {
    let tensors = Tensor::read_safetensors(fixture(case).join("sae_weights.safetensors")).unwrap();
    let (_, decoder) = tensors.iter().find(|(name, _)| name == "W_D").unwrap();
    decoder.square().sum_dim_intlist([-1i64].as_slice(), false, Kind::Float).sqrt()
}

#[test]
fn a_skip_that_is_left_out_or_transposed_and_weights_that_are_turned() {
    assert_detected("saelens-skip-transcoder", "no skip", |sae| sae.skip = None);
    assert_detected("sparsify-skip-transcoder/layers.1.mlp", "no skip", |sae| sae.skip = None);
    assert_detected("sparsify-skip-transcoder/layers.1.mlp", "transposed skip", |sae| {
        sae.skip = sae.skip.as_ref().map(|skip| skip.tr().contiguous().into());
    });
    // Reinterprets the same elements in the other order.
    let turned = |matrix: &Tensor| {
        let [rows, columns] = [matrix.size()[0], matrix.size()[1]];
        matrix.tr().contiguous().view([rows, columns])
    };
    for case in
        ["dictionary-learning-auto-encoder", "llama-scope", "sparsify/layers.1", "openai-relu", "llamascopium-topk"]
    {
        assert_detected(case, "turned encoder", |sae| sae.encoder = turned(&sae.encoder).into());
        assert_detected(case, "turned decoder", |sae| sae.decoder = turned(&sae.decoder).into());
    }
}
