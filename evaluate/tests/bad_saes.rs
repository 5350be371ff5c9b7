//! One test for each way in which an SAE's files can be wrong.

use hayloft_sae::{SaeError, SaeFile};
use serde_json::json;
use tch::{Device, Kind, Tensor};

use crate::support::Copy;

fn refused(copy: &Copy) -> SaeError {
    SaeFile::open(copy.path()).and_then(|file| file.load(Device::Cpu)).expect_err("these files are wrong")
}

#[track_caller]
fn assert_says(error: &SaeError, words: &[&str]) {
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
}

fn replace(name: &str, change: impl FnOnce(&Tensor) -> Tensor) -> impl FnOnce(&mut Vec<(String, Tensor)>) {
    move |tensors| {
        let place = tensors.iter().position(|(held, _)| held == name).unwrap();
        tensors[place].1 = change(&tensors[place].1);
    }
}

#[test]
fn a_folder_without_files() {
    let folder = tempfile::tempdir().unwrap();
    let error = SaeFile::open(folder.path()).and_then(|file| file.load(Device::Cpu)).unwrap_err();
    assert_says(&error, &["expected the files of an SAE", "cfg.json and sae_weights.safetensors", "params.npz"]);
}

/// Files that are often saved in the place of others, and what is said of them.
const OTHERS: [(&str, &str); 3] = [
    ("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"),
    ("<!DOCTYPE html><html></html>", "got a web page"),
    ("Access to model a/b is restricted.", "an error of the Hugging Face Hub"),
];

#[test]
fn files_in_the_place_of_others_are_named() {
    for (text, words) in OTHERS {
        let copy = Copy::of("standard-none");
        std::fs::write(copy.weights(), text).unwrap();
        assert_says(&refused(&copy), &["sae_weights.safetensors", words.trim_start_matches("got ")]);
        let copy = Copy::of("standard-none");
        std::fs::write(copy.path().join("cfg.json"), text).unwrap();
        let error = refused(&copy);
        assert_says(&error, &["cfg.json", words]);
        assert!(!error.to_string().contains("Save the SAE again"), "{error}");
    }
}

#[test]
fn what_is_no_sae_is_said_to_be_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let message = |path: &std::path::Path| SaeFile::open(path).unwrap_err().to_string();
    assert!(message(&path.join("none")).contains("got no such file or folder"));
    assert!(message(path).contains("got an empty folder"));
    std::fs::write(path.join("weights.gguf"), b"GGUF\x03\0\0\0").unwrap();
    assert!(message(path).contains("got weights.gguf."), "{}", message(path));
    assert!(message(&path.join("weights.gguf")).contains("weights.gguf: expected an SAE, got a GGUF file"));
    for name in ["config.json", "model.safetensors"] {
        std::fs::write(path.join(name), "{}").unwrap();
    }
    for path in [path.to_owned(), path.join("model.safetensors")] {
        assert!(message(&path).contains("It is given as --model"), "{}", message(&path));
    }
}

#[test]
fn a_configuration_that_begins_with_a_byte_order_mark_is_read() {
    let copy = Copy::of("standard-none");
    let config = copy.path().join("cfg.json");
    let text = [b"\xef\xbb\xbf".as_slice(), &std::fs::read(&config).unwrap()].concat();
    std::fs::write(config, text).unwrap();
    SaeFile::open(copy.path()).unwrap();
}

#[test]
fn missing_weights() {
    let copy = Copy::of("standard-none");
    std::fs::remove_file(copy.weights()).unwrap();
    assert!(matches!(refused(&copy), SaeError::Io { .. }));
}

#[test]
fn truncated_weights() {
    let copy = Copy::of("standard-none");
    let bytes = std::fs::read(copy.weights()).unwrap();
    for length in [0, 4, 8, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(copy.weights(), &bytes[..length]).unwrap();
        assert_says(
            &refused(&copy),
            &["sae_weights.safetensors", &format!("got {length} bytes"), "Copy the file again"],
        );
    }
}

#[test]
fn a_header_that_claims_more_than_the_file_holds() {
    let copy = Copy::of("standard-none");
    let mut bytes = std::fs::read(copy.weights()).unwrap();
    bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    std::fs::write(copy.weights(), &bytes).unwrap();
    assert!(matches!(refused(&copy), SaeError::Weights { .. }));
}

#[test]
fn bytes_after_the_tensors() {
    let copy = Copy::of("standard-none");
    let mut bytes = std::fs::read(copy.weights()).unwrap();
    bytes.push(0);
    std::fs::write(copy.weights(), &bytes).unwrap();
    assert!(matches!(refused(&copy), SaeError::Weights { .. }));
}

#[test]
fn an_unknown_architecture() {
    let copy = Copy::of("standard-none");
    copy.set("architecture", json!("crosscoder"));
    assert_says(&refused(&copy), &["cfg.json: architecture: expected standard", "got \"crosscoder\""]);
}

#[test]
fn an_unknown_field() {
    let copy = Copy::of("standard-none");
    copy.set("skip_connection", json!(true));
    assert_says(&refused(&copy), &["cfg.json", "skip_connection"]);
}

#[test]
fn topk_without_k() {
    let copy = Copy::of("topk-none");
    copy.edit_config(|config| drop(config.as_object_mut().unwrap().remove("k")));
    assert_says(&refused(&copy), &["k: expected a whole number from 1 to d_sae = 64, got none"]);
}

#[test]
fn topk_files_named_standard() {
    let copy = Copy::of("topk-none");
    copy.set("architecture", json!("standard"));
    assert_says(&refused(&copy), &["k: expected none in a standard SAE, got 5. Is this a topk SAE?"]);
}

#[test]
fn a_surplus_tensor() {
    let copy = Copy::of("jumprelu-none");
    copy.set("architecture", json!("standard"));
    assert_says(&refused(&copy), &["got threshold, which has none", "standard"]);
}

#[test]
fn a_missing_tensor() {
    let copy = Copy::of("standard-none");
    copy.set("architecture", json!("gated"));
    assert_says(&refused(&copy), &["b_gate", "[64]", "the file holds W_dec, W_enc, b_dec, b_enc"]);
}

#[test]
fn a_jumprelu_without_threshold() {
    let copy = Copy::of("standard-none");
    copy.set("architecture", json!("jumprelu"));
    assert_says(&refused(&copy), &["expected tensor threshold of shape [64]"]);
}

#[test]
fn a_transposed_encoder() {
    let copy = Copy::of("standard-none");
    copy.edit_weights(replace("W_enc", |tensor| tensor.tr().contiguous()));
    assert_says(&refused(&copy), &["W_enc: expected shape [16, 64], got [64, 16]: it is transposed"]);
}

#[test]
fn a_tensor_of_another_shape() {
    let copy = Copy::of("standard-none");
    copy.edit_weights(replace("b_enc", |tensor| tensor.narrow(0, 0, 63).contiguous()));
    assert_says(&refused(&copy), &["b_enc: expected shape [64], got [63]"]);
}

#[test]
fn a_configuration_of_another_width() {
    let copy = Copy::of("standard-none");
    copy.set("d_sae", json!(128));
    assert_says(&refused(&copy), &["W_enc: expected shape [16, 128], got [16, 64]"]);
}

#[test]
fn weights_that_are_not_finite() {
    for bad in [f64::NAN, f64::INFINITY] {
        let copy = Copy::of("standard-none");
        copy.edit_weights(replace("W_dec", |tensor| {
            let changed = tensor.copy();
            let _ = changed.get(3).fill_(bad);
            changed
        }));
        assert_says(&refused(&copy), &["W_dec: expected finite numbers, got 16 that are NaN or infinite"]);
    }
}

#[test]
fn weights_that_are_integers() {
    let copy = Copy::of("standard-none");
    copy.edit_weights(replace("b_enc", |tensor| tensor.to_kind(Kind::Int64)));
    assert_says(&refused(&copy), &["b_enc: expected F32, F64, F16 or BF16, got I64"]);
}

#[test]
fn a_scaling_factor_that_is_not_ones() {
    let copy = Copy::of("flat-standard");
    copy.edit_weights(replace("scaling_factor", |tensor| tensor * 1.5));
    assert_says(&refused(&copy), &["scaling_factor: expected ones", "Fold it"]);
}

#[test]
fn a_threshold_under_both_names() {
    let copy = Copy::of("jumprelu-none");
    copy.edit_weights(|tensors| {
        let threshold = tensors.iter().find(|(name, _)| name == "threshold").unwrap().1.log();
        tensors.push(("log_threshold".to_owned(), threshold));
    });
    assert_says(&refused(&copy), &["got threshold, which has none"]);
}
