//! Figures compared with SAELens's evaluation of the same SAEs on the same tokens
//! (`scripts/goldens/saelens_metrics.py`).

use std::collections::BTreeMap;
use std::path::Path;

use hayloft_evaluate::{KlChoice, RunSettings, run};
use hayloft_runtime::Progress;
use serde::Deserialize;
use serde_json::Value;

use crate::support::tiny::{Tiny, model};

/// Relative to a figure's size, or to 1 if that is larger. SAELens computes in float32 throughout; the golden has six
/// digits.
const TOLERANCE: f64 = 1e-5;

#[derive(Deserialize)]
struct Golden {
    tokens: Vec<Vec<i64>>,
    /// By folder among the fixtures: figures by our names; `kl.kl` is `kl` in `kl`.
    saes: BTreeMap<String, BTreeMap<String, f64>>,
}

#[test]
fn figures_agree_with_saelens() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    let bytes = std::fs::read(fixtures.join("saelens-metrics/golden.json")).unwrap();
    let Golden { tokens, saes } = serde_json::from_slice(&bytes).unwrap();
    let tiny = Tiny::of(tokens);
    let folders = saes.keys().map(|name| fixtures.join(name)).collect();
    let settings = RunSettings { kl: Some(KlChoice::Exact), ..RunSettings::new(model(), tiny.cache(), folders) };
    let results = run(&settings, Progress::Silent).unwrap().results;
    assert_eq!((results.len(), saes.len()), (2, 2));
    for (result, (sae, expected)) in results.iter().zip(&saes) {
        assert_eq!(expected.len(), 15, "{sae}");
        let result = serde_json::to_value(result).unwrap();
        for (name, &expected) in expected {
            let got = name.split('.').fold(&result, |value: &Value, part| &value[part]).as_f64().unwrap();
            let allowed = TOLERANCE * expected.abs().max(1.0);
            assert!((got - expected).abs() <= allowed, "{sae} {name}: {got}, SAELens {expected}");
        }
    }
}
