//! The study's manifests say the same thing as each other and as its published figures.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use hayloft_harvest::{DataManifest, EntryKind, FetchManifest};
use serde_json::Value;

fn study(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../data-manifests/study").join(name)
}

fn toml(name: &str) -> toml::Table {
    fs::read_to_string(study(name)).unwrap().parse().unwrap()
}

fn json(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(study(name)).unwrap()).unwrap()
}

fn rows(name: &str) -> Vec<Value> {
    json(&format!("expected/{name}.json"))["rows"].as_array().unwrap().clone()
}

fn families() -> Vec<toml::Table> {
    let families = toml("study.toml")["families"].as_array().unwrap().clone();
    families.into_iter().map(|family| family.as_table().unwrap().clone()).collect()
}

#[test]
fn every_model_of_the_study_can_be_fetched() {
    let manifest = FetchManifest::open(&study("fetch.toml")).unwrap();
    let models = manifest.entries.iter().filter(|entry| entry.kind == EntryKind::Model);
    let fetched: BTreeSet<_> = models.map(|entry| entry.name.to_string()).collect();
    let named = |family: &toml::Table| ["base", "chat"].map(|role| family[role]["model"].as_str().unwrap().to_owned());
    assert_eq!(fetched, families().iter().flat_map(named).collect());
    let datasets = manifest.entries.iter().filter(|entry| entry.kind == EntryKind::Dataset);
    assert_eq!(datasets.map(|entry| entry.name.to_string()).collect::<Vec<_>>(), ["alpaca", "pile"]);
}

#[test]
fn manifests_of_gemma_3_are_whole() {
    let folder = study("../gemma-3");
    for name in ["pile", "alpaca", "rollouts"] {
        DataManifest::open(&folder.join(format!("{name}.toml")), None).unwrap();
    }
    let manifest = FetchManifest::open(&folder.join("fetch.toml")).unwrap();
    let count = |kind| manifest.entries.iter().filter(|entry| entry.kind == kind).count();
    assert_eq!([EntryKind::Model, EntryKind::Sae, EntryKind::Dataset].map(count), [6, 6, 2]);
}

#[test]
fn data_manifests_are_those_of_the_experiment() {
    let study = toml("study.toml");
    for family in families() {
        let name = family["name"].as_str().unwrap();
        DataManifest::open(&self::study(&format!("pile-{name}.toml")), None).unwrap();
        let pile = toml(&format!("pile-{name}.toml"));
        assert_eq!(pile["max_tokens"], family["pile_tokens"]);
        for key in ["packing", "context_length"] {
            assert_eq!(pile[key], study["data"]["pile"][key]);
        }
        let contexts = family["pile_contexts"].as_integer().unwrap();
        assert_eq!(
            contexts * pile["context_length"].as_integer().unwrap(),
            family["pile_tokens"].as_integer().unwrap()
        );
        let alpaca = toml(&format!("alpaca-{name}.toml"));
        for key in ["shuffle_seed", "first", "empty_field"] {
            assert_eq!(alpaca["selection"][key], study["data"]["alpaca"][key]);
        }
        let rollouts = toml(&format!("rollouts-{name}.toml"));
        for chat in [alpaca, rollouts] {
            assert_eq!(chat["chat"]["template"], family["template"]);
            assert_eq!(chat["packing"], study["data"]["alpaca"]["packing"]);
        }
    }
}

/// Independent of `scripts/check study-tables`: every published number is in the rows, as often as it was published.
#[test]
fn expected_tables_hold_the_published_figures() {
    for (name, cells) in [("pile", 12 * 8), ("alpaca", 12 * 8), ("finetuning", 2 * 8)] {
        let rows = rows(name);
        let computed = |column: &str| column == "ce_delta";
        let mut expected = Vec::new();
        let mut count = 0;
        for row in &rows {
            for (column, value) in row.as_object().unwrap() {
                if let Some(value) = value.as_f64() {
                    count += 1;
                    if !computed(column) {
                        expected.push(value);
                    }
                }
            }
        }
        assert_eq!(count, cells, "{name}");
        let settings = ["eval_tokens", "MSE/L0/Explained Variance batches", "Outlier threshold", "outlier_threshold"];
        let shared = ["Clean Chat loss", "Zero abl loss"];
        let mut published = Vec::new();
        for entry in json(&format!("published/{name}.json")).as_array().unwrap() {
            for (column, value) in entry.as_object().unwrap() {
                let times = if shared.contains(&column.as_str()) { 2 } else { 1 };
                if let Some(value) = value.as_f64().filter(|_| !settings.contains(&column.as_str())) {
                    published.extend(std::iter::repeat_n(value, times));
                }
            }
        }
        expected.sort_by(f64::total_cmp);
        published.sort_by(f64::total_cmp);
        assert_eq!(expected, published, "{name}");
    }
}

#[test]
fn expected_tables_have_the_cells_of_the_experiment() {
    let study = toml("study.toml");
    let mut by_family: BTreeMap<String, usize> = BTreeMap::new();
    for (name, table) in study["tables"].as_table().unwrap() {
        let rows = rows(name);
        for row in &rows {
            for (key, allowed) in [("sae", "saes"), ("model", "models"), ("section", "sections")] {
                let allowed = table[allowed].as_array().unwrap();
                assert!(allowed.iter().any(|allowed| allowed.as_str() == row[key].as_str()), "{row}");
            }
            assert_eq!(table["outliers_filtered"].as_bool(), row["outliers_filtered"].as_bool());
            *by_family.entry(row["family"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    for family in families() {
        let name = family["name"].as_str().unwrap();
        assert_eq!(rows(name).len(), by_family[name], "{name}");
    }
    assert_eq!(by_family.values().sum::<usize>(), 26);
}

#[test]
fn thresholds_are_the_published_ones() {
    for family in families() {
        let name = family["name"].as_str().unwrap().split('-').next().unwrap().trim_end_matches("1.5").to_owned();
        for entry in json("published/pile.json").as_array().unwrap() {
            if entry["model_name"].as_str().unwrap().starts_with(&name) {
                assert_eq!(entry["Outlier threshold"].as_i64(), family["outlier_norm"].as_integer());
                assert_eq!(entry["eval_tokens"].as_i64(), family["pile_tokens"].as_integer());
            }
        }
    }
}
