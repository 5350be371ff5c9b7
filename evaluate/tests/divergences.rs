//! KL(clean ‖ spliced) on a small cache, against transformers and SAELens: `scripts/goldens/divergence.py`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hayloft_evaluate::{EvaluateError, KlChoice, RunSettings, run};
use hayloft_results::{Kl, KlMethod, Results, SaeResult, Sums};
use hayloft_rows::{ScaleChoice, SectionChoice};
use hayloft_runtime::{Dtype, Progress};
use hayloft_store::{Codec, KeptPredictions};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use crate::support::tiny::{SITE, Tiny, model, sae};

fn keeping(top_k: u32, full_logits: bool) -> Tiny {
    Tiny::with(Some(KeptPredictions { top_k, full_logits }), |_, _| {})
}

fn settings(tiny: &Tiny, kl: KlChoice) -> RunSettings {
    RunSettings { kl: Some(kl), ..RunSettings::new(model(), tiny.cache(), vec![sae()]) }
}

fn evaluate(settings: &RunSettings) -> Results {
    run(settings, Progress::Silent).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(settings: &RunSettings) -> EvaluateError {
    run(settings, Progress::Silent).unwrap_err()
}

fn kl(result: &SaeResult) -> Kl {
    result.kl.unwrap()
}

fn golden() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/divergence.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Each row of the golden with the result of a run in the same settings.
fn beside_golden(tiny: &Tiny, choice: KlChoice) -> Vec<(Value, Kl)> {
    let measured = |row: Value| {
        let settings = RunSettings {
            sections: vec![row["section"].as_str().unwrap().parse().unwrap()],
            scale: ScaleChoice::Given(row["scale"].as_f64().unwrap()),
            outlier_norm: row["outlier_norm"].as_f64().map(Into::into),
            ..settings(tiny, choice)
        };
        let found = kl(&evaluate(&settings).results[0]);
        (row, found)
    };
    golden().into_iter().map(measured).collect()
}

fn assert_near(got: Option<f64>, expected: &Value, tolerance: f64, what: &Value) {
    let (got, expected) = (got.unwrap(), expected.as_f64().unwrap());
    assert!((got - expected).abs() < tolerance * expected.abs(), "{got}, expected {expected}, in {what}");
}

#[test]
fn exact_divergences_agree_with_transformers_in_float64() {
    let tiny = keeping(0, true);
    for (choice, method) in [(KlChoice::Recomputed, KlMethod::Recomputed), (KlChoice::Stored, KlMethod::Stored)] {
        for (row, found) in beside_golden(&tiny, choice) {
            assert_eq!(found.method, method);
            assert_near(found.kl, &row["kl"], 1e-5, &row);
            assert_near(found.kl_ablated, &row["kl_ablated"], 1e-5, &row);
            assert_near(found.kl, &row["saelens"], 1e-5, &row);
            // The difference of two figures, each correct to 1e-5.
            let expected = row["kl_recovered"].as_f64().unwrap();
            assert!((found.kl_recovered.unwrap() - expected).abs() < 2e-5, "{found:?}, expected {expected}");
        }
    }
}

#[test]
fn bounds_agree_with_the_log_sum_inequality_in_float64() {
    for top_k in [1, 8, 64, 320] {
        for (row, found) in beside_golden(&keeping(top_k, false), KlChoice::Bound) {
            assert_eq!(found.method, KlMethod::Bound { top_k });
            let (bound, exact) = (found.kl.unwrap(), row["kl"].as_f64().unwrap());
            let expected = row["bounds"][top_k.to_string()].as_f64().unwrap();
            assert!((bound - expected).abs() < 2e-6 + 1e-5 * expected, "{bound}, expected {expected}, in {row}");
            assert!(bound <= exact + 5e-6, "{bound} is above {exact}");
        }
    }
}

#[test]
fn exact_takes_stored_logits_where_they_are_and_of_the_same_precision() {
    let (with, without) = (keeping(4, true), keeping(4, false));
    let method = |tiny: &Tiny, more: RunSettings| {
        let found = kl(&evaluate(&RunSettings { cache: tiny.cache(), ..more }).results[0]);
        (found.method, found.label())
    };
    let plain = || settings(&with, KlChoice::Exact);
    assert_eq!(method(&with, plain()), (KlMethod::Stored, "exact, from stored logits (f32)".to_owned()));
    assert_eq!(method(&without, plain()), (KlMethod::Recomputed, "exact, recomputed (f32)".to_owned()));
    let bf16 = || RunSettings { precision: Some(Dtype::Bf16), ..plain() };
    assert_eq!(method(&with, bf16()), (KlMethod::Recomputed, "exact, recomputed (bf16)".to_owned()));
    let fast = RunSettings { compute: Some(Dtype::Bf16), ..plain() };
    assert_eq!(
        method(&with, fast),
        (KlMethod::Stored, "exact, from stored logits (clean logits f32, spliced bf16)".to_owned())
    );
    let bound = RunSettings { kl: Some(KlChoice::Bound), ..bf16() };
    assert_eq!(method(&without, bound).1, "lower bound, from the top 4 (clean logits f32, spliced bf16)");
}

#[test]
fn rounded_logits_are_taken_only_when_asked_for_and_are_not_called_exact() {
    let tiny = Tiny::coded(Codec::INT8, KeptPredictions { top_k: 0, full_logits: true });
    let found = |choice| kl(&evaluate(&settings(&tiny, choice)).results[0]);
    let (exact, stored) = (found(KlChoice::Exact), found(KlChoice::Stored));
    assert_eq!((exact.method, stored.method), (KlMethod::Recomputed, KlMethod::StoredRounded));
    assert!(stored.label().starts_with("not exact"), "{}", stored.label());
    let difference = (stored.kl.unwrap() - exact.kl.unwrap()).abs();
    assert!(difference > 1e-6 && difference < 0.01 * exact.kl.unwrap(), "{stored:?}, {exact:?}");
}

/// An SAE whose reconstruction is its input to the bit: relu(x) − relu(−x).
fn identity(folder: &Path) -> PathBuf {
    let eye = Tensor::eye(32, (Kind::Float, Device::Cpu));
    let both = Tensor::cat(&[&eye, &-&eye], 0);
    let zeros = |width| Tensor::zeros([width], (Kind::Float, Device::Cpu));
    let tensors = [("W_enc", both.tr().contiguous()), ("W_dec", both), ("b_enc", zeros(64)), ("b_dec", zeros(32))];
    std::fs::create_dir(folder).unwrap();
    Tensor::write_safetensors(&tensors, folder.join("sae_weights.safetensors")).unwrap();
    std::fs::copy(sae().join("cfg.json"), folder.join("cfg.json")).unwrap();
    folder.to_path_buf()
}

#[test]
fn an_unchanged_residual_has_no_divergence() {
    let tiny = keeping(320, true);
    let folder = tempfile::tempdir().unwrap();
    let saes = vec![identity(&folder.path().join("identity"))];
    for (choice, most) in [(KlChoice::Recomputed, 1e-12), (KlChoice::Stored, 1e-6), (KlChoice::Bound, 1e-5)] {
        let found = kl(&evaluate(&RunSettings { saes: saes.clone(), ..settings(&tiny, choice) }).results[0]);
        assert!(found.kl.unwrap().abs() < most, "{choice}: {found:?}");
    }
}

#[test]
fn kl_changes_no_bit_of_other_figures() {
    let tiny = keeping(8, true);
    let plain = evaluate(&RunSettings { kl: None, ..settings(&tiny, KlChoice::Exact) }).results.remove(0);
    assert!(plain.kl.is_none() && plain.sums.kl.is_none());
    assert!(!serde_json::to_string(&plain).unwrap().contains("\"kl"));
    for choice in [KlChoice::Stored, KlChoice::Recomputed, KlChoice::Bound] {
        let mut with = evaluate(&settings(&tiny, choice)).results.remove(0);
        with.kl = None;
        with.sums.kl = None;
        with.shards.iter_mut().for_each(|shard| shard.sums.kl = None);
        assert_eq!(with, plain, "{choice}");
    }
}

#[test]
fn neither_threads_nor_other_saes_change_a_divergence() {
    let tiny = keeping(8, true);
    for choice in [KlChoice::Stored, KlChoice::Recomputed, KlChoice::Bound] {
        let on = |threads, saes| {
            tch::set_num_threads(threads);
            evaluate(&RunSettings { saes, ..settings(&tiny, choice) }).results
        };
        let alone = on(1, vec![sae()]);
        assert_eq!(on(5, vec![sae()]), alone);
        // More than are read at once.
        for result in on(2, vec![sae(); 10]) {
            assert_eq!(result.sums, alone[0].sums, "{choice}");
        }
    }
}

#[test]
fn shards_merge_to_the_whole_and_baselines_are_used_again() {
    let tiny = keeping(0, false);
    let sections = vec![SectionChoice::All, "rollout".parse().unwrap()];
    let settings = RunSettings { sections, ..settings(&tiny, KlChoice::Exact) };
    let first = evaluate(&settings).results;
    for result in &first {
        let merged = Sums::total(result.shards.iter().map(|shard| &shard.sums));
        assert_eq!(merged, result.sums);
        let sums = merged.kl.unwrap();
        assert_eq!(sums.tokens, merged.loss_tokens);
        assert_eq!(kl(result).kl, Some(sums.kl / sums.tokens as f64));
        assert_eq!(kl(result).kl_ablated, Some(sums.kl_ablated / sums.tokens as f64));
    }
    let kept: BTreeSet<String> = std::fs::read_dir(tiny.cache().join("baselines"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("divergences."))
        .collect();
    let name = |section| format!("divergences.{SITE}.{section}.f32.recomputed.safetensors");
    assert_eq!(kept, BTreeSet::from(["all", "rollout"].map(name)));
    assert_eq!(evaluate(&settings).results, first);
}

#[test]
fn every_output_names_the_kind_of_kl() {
    let tiny = keeping(8, false);
    for (choice, label) in
        [(KlChoice::Exact, "exact, recomputed (f32)"), (KlChoice::Bound, "lower bound, from the top 8 (f32)")]
    {
        let results = evaluate(&settings(&tiny, choice));
        let csv = String::from_utf8(results.csv().unwrap()).unwrap();
        assert!(csv.contains(label) && csv.lines().next().unwrap().contains(",kl,kl_ablated,kl_recovered,kl_method,"));
        for text in [results.table(80), results.markdown()] {
            assert!(text.contains(label) && text.contains("KL ablated"), "{text}");
        }
        assert!(results.table(80).lines().all(|line| line.chars().count() <= 120), "{}", results.table(80));
        let read: Vec<SaeResult> = serde_json::from_str(&results.json().unwrap()).unwrap();
        assert_eq!(read, results.results, "JSON gives back every bit");
    }
}

#[test]
fn what_the_cache_does_not_keep_is_not_read() {
    let tiny = keeping(0, false);
    for (choice, words) in [
        (KlChoice::Stored, ["--kl=stored", "all logits", "losses only", "--logits full"]),
        (KlChoice::Bound, ["--kl=bound", "largest logits", "losses only", "--logits top=64"]),
    ] {
        let error = refusal(&settings(&tiny, choice));
        assert!(matches!(error, EvaluateError::KlNotKept { .. }), "{error}");
        assert!(words.iter().all(|word| error.to_string().contains(word)), "{error}");
    }
    let nothing = Tiny::with(None, |_, _| {});
    let error = refusal(&settings(&nothing, KlChoice::Bound));
    assert!(error.to_string().contains("got one with no predictions"), "{error}");
    assert_eq!(kl(&evaluate(&settings(&nothing, KlChoice::Exact)).results[0]).method, KlMethod::Recomputed);
}

#[test]
fn kl_needs_a_model() {
    let tiny = keeping(8, true);
    for choice in [KlChoice::Exact, KlChoice::Stored, KlChoice::Recomputed, KlChoice::Bound] {
        let error = refusal(&RunSettings { model: None, ..settings(&tiny, choice) });
        assert!(matches!(error, EvaluateError::KlWithoutModel { .. }), "{error}");
        assert!(error.to_string().contains("expected --model too"), "{error}");
    }
}

/// Every field is in `RESULTS.md`, by its name in code type.
#[test]
fn the_document_describes_every_field() {
    let document = include_str!("../../crates/results/RESULTS.md");
    let result = evaluate(&settings(&keeping(8, false), KlChoice::Bound)).results.remove(0);
    let value = serde_json::to_value(&result).unwrap();
    let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for name in fields(&value["kl"]).into_iter().chain(fields(&value["sums"]["kl"])) {
        assert!(document.contains(&format!("`{name}`")), "RESULTS.md does not describe {name}");
    }
}
