//! SAEs compared with SAELens's latents and reconstructions, and with the results of misread options.

use std::path::Path;

use hayloft_sae::SaeFile;
use serde_json::{Value, json};
use tch::{Device, Tensor};

use crate::support::{Copy, distance, sae_fixtures, tensor};

const TOLERANCE: f64 = 1e-5;

/// The least effect of a misread option: a hundred times the tolerance.
const DETECTED: f64 = 1e-3;

fn latents_and_reconstruction(folder: &Path, x: &Tensor) -> (Tensor, Tensor) {
    let sae = SaeFile::open(folder).and_then(|file| file.load(Device::Cpu)).unwrap_or_else(|error| panic!("{error}"));
    let encoded = sae.encode(x).unwrap();
    let reconstruction = sae.decode(&encoded).unwrap();
    (encoded.latents, reconstruction)
}

fn cases() -> Vec<String> {
    let entries = std::fs::read_dir(sae_fixtures()).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_architecture_and_option_agrees_with_saelens() {
    let cases = cases();
    assert!(cases.len() >= 30, "only {} cases: run scripts/goldens/saes.py", cases.len());
    for case in cases {
        let folder = sae_fixtures().join(&case);
        let golden = |name| tensor(&folder.join("golden.safetensors"), name);
        let (latents, reconstruction) = latents_and_reconstruction(&folder, &golden("x"));
        let latents = distance(&latents, &golden("latents"));
        let reconstruction = distance(&reconstruction, &golden("reconstruction"));
        assert!(latents < TOLERANCE && reconstruction < TOLERANCE, "{case}: {latents:e}, {reconstruction:e}");
        let in_tiles = SaeFile::open(&folder)
            .and_then(|file| file.load(Device::Cpu))
            .unwrap()
            .reconstruct(&golden("x"))
            .unwrap()
            .rows;
        let in_tiles = distance(&in_tiles, &golden("reconstruction"));
        assert!(in_tiles < TOLERANCE, "{case}, in tiles: {in_tiles:e}");
    }
}

#[test]
fn latents_are_counted_as_saelens_has_them() {
    for case in cases() {
        let folder = sae_fixtures().join(&case);
        let golden = |name| tensor(&folder.join("golden.safetensors"), name);
        let fired = SaeFile::open(&folder)
            .and_then(|file| file.load(Device::Cpu))
            .unwrap()
            .reconstruct(&golden("x"))
            .unwrap()
            .fired;
        let expected = golden("latents").gt(0.0).sum_dim_intlist([-1i64].as_slice(), false, tch::Kind::Int64);
        assert_eq!(fired, expected, "{case}");
    }
}

/// The distance between SAELens's reconstruction and that of a corrupted copy of a case.
fn distance_after(case: &str, spoil: impl FnOnce(&Copy)) -> f64 {
    let copy = Copy::of(case);
    spoil(&copy);
    let golden = sae_fixtures().join(case).join("golden.safetensors");
    let (_, reconstruction) = latents_and_reconstruction(copy.path(), &tensor(&golden, "x"));
    distance(&reconstruction, &tensor(&golden, "reconstruction"))
}

#[test]
fn misread_options_would_show() {
    let misreadings: &[(&str, &str, Value)] = &[
        ("standard-none", "apply_b_dec_to_input", json!(false)),
        ("standard-no-input-bias", "apply_b_dec_to_input", json!(true)),
        ("topk-no-input-bias", "apply_b_dec_to_input", json!(true)),
        ("jumprelu-no-input-bias", "apply_b_dec_to_input", json!(true)),
        ("gated-no-input-bias", "apply_b_dec_to_input", json!(true)),
        ("standard-layer", "normalize_activations", json!("none")),
        ("standard-constant", "normalize_activations", json!("none")),
        ("standard-none", "normalize_activations", json!("layer_norm")),
        ("topk-constant", "normalize_activations", json!("layer_norm")),
        ("topk-none", "k", json!(4)),
        ("topk-rescaled", "rescale_acts_by_decoder_norm", json!(false)),
        ("topk-none", "rescale_acts_by_decoder_norm", json!(true)),
        ("batchtopk-rescaled-checkpoint", "rescale_acts_by_decoder_norm", json!(false)),
        ("flat-topk", "apply_b_dec_to_input", json!(true)),
    ];
    for (case, field, value) in misreadings {
        let distance = distance_after(case, |copy| {
            copy.set(field, value.clone());
        });
        assert!(distance > DETECTED, "{case} with {field} = {value} is only {distance:e} away");
    }
}

#[test]
fn a_threshold_left_out_would_show() {
    let distance = distance_after("jumprelu-none", |copy| {
        copy.set("architecture", json!("standard"));
        copy.edit_weights(|tensors| tensors.retain(|(name, _)| name != "threshold"));
    });
    assert!(distance > DETECTED, "{distance:e}");
}

#[test]
fn a_log_threshold_read_as_it_is_would_show() {
    let distance = distance_after("jumprelu-log-threshold", |copy| {
        copy.edit_weights(|tensors| {
            for (name, _) in tensors.iter_mut().filter(|(name, _)| name == "log_threshold") {
                "threshold".clone_into(name);
            }
        });
    });
    assert!(distance > DETECTED, "{distance:e}");
}

#[test]
fn the_caller_applies_the_average_scale() {
    // SAELens ignores it at run time too; the agreement of the cases shows that, and this test shows that the scale
    // matters.
    let folder = sae_fixtures().join("standard-expected");
    let golden = |name| tensor(&folder.join("golden.safetensors"), name);
    let (_, scaled) = latents_and_reconstruction(&folder, &(golden("x") * 2.0));
    assert!(distance(&(scaled / 2.0), &golden("reconstruction")) > DETECTED);
}
