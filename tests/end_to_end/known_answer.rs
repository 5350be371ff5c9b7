//! A known answer on real weights: a trained model and two trained SAEs, computed with transformers and SAELens.

use serde_json::Value;

use crate::support::fixture;
use crate::support::program::refuse;
use crate::support::stories::Stories;

const SITE: &str = "blocks.3.hook_resid_pre";

/// Allowed difference of every column but L0.
const TOLERANCE: f64 = 2e-4;
const TOLERANCE_L0: f64 = 2e-3;

/// The columns that the study's table and the reference share.
const COLUMNS: [&str; 8] =
    ["l0", "ce_recovered", "ce_clean", "ce_sae", "ce_zero", "explained_variance", "explained_variance_pooled", "mse"];

/// The three rows as published, to six places.
const PUBLISHED: [(&str, [f64; 8]); 3] = [
    ("standard", [19.6147, 0.973_575, 1.140_634, 1.275_339, 6.238_325, 0.933_481, 0.939_717, 2.341_141]),
    ("jumprelu", [4.7764, 0.947_025, 1.140_634, 1.410_686, 6.238_325, 0.891_711, 0.900_105, 3.879_482]),
    ("standard_outliers_10", [19.5539, 0.973_777, 1.140_634, 1.274_311, 6.238_325, 0.933_935, 0.941_285, 2.265_495]),
];

fn assert_row(name: &str, got: &Value, expected: &[f64; 8]) {
    for (column, expected) in COLUMNS.iter().zip(expected) {
        let tolerance = if *column == "l0" { TOLERANCE_L0 } else { TOLERANCE };
        let got = got[column].as_f64().unwrap_or_else(|| panic!("{name}: no {column} in {got}"));
        assert!((got - expected).abs() < tolerance, "{name}: {column} is {got}, expected {expected}");
    }
}

fn print_row(name: &str, row: &Value) {
    let values: Vec<String> =
        COLUMNS.iter().map(|column| format!("{column} {:.6}", row[column].as_f64().unwrap())).collect();
    println!("{name:22} {}", values.join("  "));
}

/// All three rows of the known answer from a cache with one codec.
fn check_published(codec: &str) {
    let stories = Stories::harvest(&format!("--dtype f32 --codec {codec}"));
    let plain = stories.evaluate(&["standard", "jumprelu"], "");
    let filtered = stories.evaluate(&["standard"], "--outlier-norm 10");
    for ((name, expected), row) in PUBLISHED.iter().zip([&plain[0], &plain[1], &filtered[0]]) {
        print_row(name, row);
        assert_row(name, row, expected);
        assert_eq!(row["loss_tokens"], 20_783, "{name}");
        let outliers = if name.contains("outliers") { 64 } else { 0 };
        assert_eq!(row["outlier_rows"], outliers, "{name}");
        assert_eq!(row["activation_rows"], 20_843 - outliers, "{name}");
        // Every position is ablated, the norm is an RMS norm and there are no biases: the prediction is uniform.
        let zero = row["ce_zero"].as_f64().unwrap();
        assert!((zero - 512_f64.ln()).abs() < 1e-5, "zero-ablation gives {zero}, expected ln 512");
    }
}

#[test]
fn the_known_answer_from_planes() {
    check_published("planes");
}

#[test]
fn the_known_answer_from_raw() {
    check_published("raw");
}

/// Rows beyond the published ones, from the same reference: `scripts/goldens/stories.py`.
#[test]
fn sections_and_scales_agree_with_the_oracle() {
    let golden = fixture("stories/golden.json");
    let golden: Value = serde_json::from_slice(&std::fs::read(golden).unwrap()).unwrap();
    let stories = Stories::harvest("--dtype f32");
    let cases: [(&str, &str, &[&str]); 2] = [
        ("section_text", "--section text", &["standard", "jumprelu"]),
        ("scaled", "--scale auto --outlier-norm 10", &["standard", "jumprelu"]),
    ];
    for (case, options, saes) in cases {
        let rows = stories.evaluate(saes, options);
        for (sae, row) in saes.iter().zip(&rows) {
            let expected = COLUMNS.map(|column| golden[case][sae][column].as_f64().unwrap());
            print_row(&format!("{case} {sae}"), row);
            assert_row(&format!("{case} {sae}"), row, &expected);
        }
    }
}

#[test]
fn an_sae_of_another_site_is_refused() {
    let stories = Stories::harvest_at("blocks.2.hook_resid_pre", "--logits none");
    let message = refuse(&mut stories.evaluation(&["standard"], "").0);
    assert!(message.contains(SITE) && message.contains("blocks.2.hook_resid_pre"), "{message}");
}

/// `blocks.2.hook_resid_post` and `blocks.3.hook_resid_pre` are one tensor.
#[test]
fn an_sae_of_the_same_tensor_under_its_other_name_is_taken() {
    let stories = Stories::harvest_at("blocks.2.hook_resid_post", "--dtype f32");
    assert_row("standard", &stories.evaluate(&["standard"], "")[0], &PUBLISHED[0].1);
}

/// Without predictions in the cache the clean loss is recomputed, and is the same.
#[test]
fn a_cache_without_predictions_gives_the_same_answer() {
    let stories = Stories::harvest("--dtype f32 --logits none");
    assert_row("standard", &stories.evaluate(&["standard"], "")[0], &PUBLISHED[0].1);
}
