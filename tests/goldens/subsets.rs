//! Figures of each subset of packed documents, where one context mixes three: compared with transformers and numpy in
//! float64. `scripts/goldens/subsets.py` makes the golden.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::fixture;
use crate::support::program::{program, succeed};

const SITE: &str = "blocks.1.hook_resid_pre";
const SECTIONS: &str = "--section all --section text";

/// Counts, which must be equal.
const COUNTS: [&str; 3] = ["sequences", "loss_tokens", "activation_rows"];

/// Figures, with the tolerance on their relative difference in float32.
const FIGURES: [&str; 11] = [
    "l0",
    "ce_clean",
    "ce_sae",
    "ce_zero",
    "ce_delta",
    "ce_recovered",
    "explained_variance",
    "explained_variance_pooled",
    "mse",
    "cosine_similarity",
    "l2_ratio",
];
const TOLERANCE: f64 = 2e-5;

/// A cache of the golden's documents, packed as the Pile's are, in several shards.
struct Packed {
    scratch: TempDir,
    golden: Value,
}

impl Packed {
    fn harvest() -> Self {
        let golden = fixture("subsets/golden.json");
        let golden: Value = serde_json::from_slice(&std::fs::read(golden).unwrap()).unwrap();
        let packed = Self { scratch: TempDir::new().unwrap(), golden };
        let manifest = packed.scratch.path().join("text.toml");
        let text = format!(
            "name = \"packed\"\npacking = \"concat\"\ncontext_length = {}\nsubset_field = \"meta.subset\"\n[[files]]\npath = '{}'\n",
            packed.golden["context_length"],
            fixture("subsets/text.jsonl").display()
        );
        std::fs::write(&manifest, text).unwrap();
        let line = format!("run --site {SITE} --dtype f32 --shard-tokens 1024 --row-group-rows 256");
        let paths = [("--model", &*fixture("tiny-llama")), ("--data", &manifest), ("--out", &packed.folder("cache"))];
        succeed(&mut program("harvest", &line, &paths));
        packed
    }

    fn folder(&self, name: &str) -> std::path::PathBuf {
        self.scratch.path().join(name)
    }

    /// The output of `evaluate run` of the golden's SAE.
    fn evaluate(&self, options: &str, out: Option<&Path>) -> String {
        let (model, sae, cache) = (fixture("tiny-llama"), fixture("tiny-llama/sae"), self.folder("cache"));
        let mut paths = vec![("--model", model.as_path()), ("--cache", &cache), ("--sae", &sae)];
        paths.extend(out.map(|out| ("--out", out)));
        succeed(&mut program("evaluate", &format!("run {SECTIONS} {options}"), &paths))
    }

    /// The expected figures of a section, by subset.
    fn expected(&self, section: &str) -> &serde_json::Map<String, Value> {
        self.golden["sections"][section].as_object().unwrap()
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn figures_of_each_subset_are_those_of_numpy() {
    let packed = Packed::harvest();
    assert!(packed.golden["contexts_with_all_subsets"].as_u64().unwrap() > 2);
    let results = json(&packed.evaluate("--by subset --json", None));
    let mut worst: f64 = 0.0;
    for result in results.as_array().unwrap() {
        let expected = packed.expected(result["section"].as_str().unwrap());
        let subsets = result["subsets"].as_array().unwrap();
        assert_eq!(subsets.len(), expected.len(), "{subsets:?}");
        for (got, (name, expected)) in subsets.iter().zip(expected) {
            assert_eq!(got["subset"], name.as_str());
            for count in COUNTS {
                assert_eq!(got[count], expected[count], "{count} of {name}");
            }
            for figure in FIGURES {
                let (got, expected) = (number(&got[figure]), number(&expected[figure]));
                let difference = (got - expected).abs() / expected.abs().max(1.0);
                assert!(difference < TOLERANCE, "{figure} of {name} is {got}, expected {expected}");
                worst = worst.max(difference);
            }
        }
        let total = |count: &str| subsets.iter().map(|own| own[count].as_u64().unwrap()).sum::<u64>();
        assert_eq!(
            (total("loss_tokens"), total("activation_rows")),
            (result["loss_tokens"].as_u64().unwrap(), result["activation_rows"].as_u64().unwrap())
        );
    }
    println!("figures of subsets within {worst:.1e} of numpy's");
}

/// The cache's own statistics count the same losses, row for row.
#[test]
fn an_inspection_and_an_evaluation_count_the_same_losses() {
    let packed = Packed::harvest();
    let cache = packed.folder("cache");
    let inspected = json(&succeed(&mut program("store", "inspect --json", &[("", &cache)])));
    assert_eq!(inspected["non_finite_losses"], 0);
    let results = json(&packed.evaluate("--by subset --json", None));
    let mut compared = 0;
    for result in results.as_array().unwrap() {
        let section = result["section"].as_str().unwrap();
        let groups = if section == "all" { "subsets" } else { "sections_of_subsets" };
        for own in result["subsets"].as_array().unwrap() {
            let same =
                |group: &&Value| group["subset"] == own["subset"] && (section == "all" || group["section"] == section);
            let groups = inspected["statistics"][groups].as_array().unwrap();
            let group = groups.iter().find(same).unwrap_or_else(|| panic!("no {own} in {groups:?}"));
            let expected = &packed.expected(section)[own["subset"].as_str().unwrap()];
            assert_eq!(group["losses"], own["loss_tokens"]);
            assert_eq!(group["losses"], expected["loss_tokens"]);
            assert_eq!(group["tokens"], expected["activation_rows"]);
            let (of_cache, of_run) = (number(&group["mean_loss"]), number(&own["ce_clean"]));
            // The same numbers in the same order, except at the ends of shards.
            assert!((of_cache - of_run).abs() < 1e-12, "{of_cache} and {of_run} of {own}");
            compared += 1;
        }
    }
    assert_eq!(compared, 6);
    let screen = succeed(&mut program("store", "inspect", &[("", &cache)]));
    let bells = screen.lines().find(|line| line.starts_with(" bells")).unwrap_or_else(|| panic!("{screen}"));
    let words: Vec<String> = bells.split_whitespace().map(|word| word.replace(',', "")).collect();
    let bells = &packed.expected("all")["bells"];
    assert_eq!((&words[1], &words[2]), (&bells["activation_rows"].to_string(), &bells["loss_tokens"].to_string()));
}

/// Contexts that mix subsets merge to the same bytes and are resampled whole, with or without figures by subset.
#[test]
fn parts_and_intervals_of_packed_documents_are_those_of_one_run() {
    let packed = Packed::harvest();
    let options = "--kl --bootstrap=100";
    let read = |folder: &Path, name: &str| std::fs::read(folder.join(name)).unwrap();
    let whole = packed.folder("whole");
    let expected = packed.evaluate(&format!("{options} --by subset"), Some(&whole));
    let parts = packed.folder("parts");
    std::fs::remove_dir_all(packed.folder("cache/baselines")).unwrap();
    for (only_baselines, out) in [("--only-baselines", None), ("", Some(parts.as_path()))] {
        for part in ["0/3", "1/3", "2/3"] {
            packed.evaluate(&format!("{options} --by subset --part {part} {only_baselines}"), out);
        }
    }
    let merged = packed.folder("merged");
    let printed = succeed(&mut program("evaluate", "merge --by subset", &[("", &parts), ("--out", &merged)]));
    assert_eq!(printed, expected);
    let mut names: Vec<_> = std::fs::read_dir(&whole).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert!(names.len() > 4, "{names:?}");
    for name in names {
        let name = name.to_str().unwrap();
        assert!(read(&whole, name) == read(&merged, name), "{name} of merged parts differs");
    }

    let plain = packed.folder("plain");
    packed.evaluate(options, Some(&plain));
    let results = |folder: &Path| json(std::str::from_utf8(&read(folder, "results.json")).unwrap());
    let mut with_subsets = results(&whole);
    for result in with_subsets.as_array_mut().unwrap() {
        assert!(result["intervals"]["figures"]["ce_sae"].is_array(), "{result}");
        assert_eq!(result.as_object_mut().unwrap().remove("subsets").map(|own| own.as_array().unwrap().len()), Some(3));
    }
    assert_eq!(with_subsets, results(&plain));
}
