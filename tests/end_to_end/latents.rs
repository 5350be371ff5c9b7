//! Latents of the real model's SAEs, through the program.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::fixture;
use crate::support::program::{program, refuse, succeed};
use crate::support::stories::Stories;

const SAES: [&str; 2] = ["jumprelu", "standard"];

fn sae(name: &str) -> PathBuf {
    fixture("stories260K/saes").join(name)
}

/// `evaluate latents` of both SAEs into a folder.
fn latents(stories: &Stories, options: &str, out: &Path) -> String {
    let saes = SAES.map(sae);
    let mut paths: Vec<(&str, &Path)> = vec![("--cache", &stories.cache), ("--out", out)];
    paths.extend(saes.iter().map(|sae| ("--sae", sae.as_path())));
    succeed(&mut program("evaluate", &format!("latents {options}"), &paths))
}

#[test]
fn latents_are_those_of_an_evaluation_whatever_the_threads() {
    let stories = Stories::harvest("--shard-tokens 4096");
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let report: Value = serde_json::from_str(&latents(&stories, "--json --threads 1", &one)).unwrap();
    let table = latents(&stories, "--threads 2", &two);
    assert!(table.contains("jumprelu") && table.lines().all(|line| line.chars().count() <= 80), "{table}");
    for name in ["latents.parquet", "examples.parquet"] {
        let bytes = |folder: &Path| std::fs::read(folder.join(name)).unwrap();
        assert!(bytes(&one) == bytes(&two), "{name} differs");
        assert_eq!(std::fs::read_dir(&one).unwrap().count(), 2);
    }
    for (own, result) in report["saes"].as_array().unwrap().iter().zip(stories.evaluate(&SAES, "")) {
        assert_eq!((&own["name"], &own["tokens"]), (&result["sae"], &result["activation_rows"]));
        assert_eq!((&own["dead"], &own["dense"]), (&result["latents"]["dead"], &result["latents"]["dense"]));
        let l0 = |value: &Value| value["l0"].as_f64().unwrap();
        assert!(l0(own) > 1.0 && (l0(own) - l0(&result)).abs() < 1e-12, "{own}");
    }
}

#[test]
fn what_is_asked_for_and_is_not_there_is_refused_and_nothing_is_written() {
    let stories = Stories::harvest("");
    let out = stories.cache.join("../latents");
    let refused = |options: &str, more: &[(&str, &Path)]| {
        let mut paths: Vec<(&str, &Path)> = vec![("--cache", &stories.cache), ("--out", &out)];
        paths.extend(more);
        let message = refuse(&mut program("evaluate", &format!("latents {options}"), &paths));
        assert!(!out.exists(), "{message}");
        message
    };
    let own = sae("standard");
    let other = fixture("tiny-llama");
    for (options, more, words) in [
        ("--latents 3,512", vec![("--sae", own.as_path())], "which has 512, numbered from 0 to 511, got 512"),
        ("--shards 9..", vec![("--sae", &own)], "--shards 9..: expected shards that the cache holds"),
        ("--site blocks.0.hook_resid_pre", vec![("--sae", &own)], "blocks.0.hook_resid_pre"),
        ("", vec![("--sae", &own), ("--tokenizer", &other)], "tokenizer.json: expected BLAKE3"),
        ("--section rollout", vec![("--sae", &own)], "rollout"),
        ("--top 1001", vec![("--sae", &own)], "number of top examples: expected at most 1000, got 1001"),
        ("", vec![("--sae", &other.join("sae"))], "64 wide"),
    ] {
        let message = refused(options, &more);
        assert!(message.contains(words), "{options}: {message}");
    }
}
