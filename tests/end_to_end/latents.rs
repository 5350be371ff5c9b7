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

/// What a script of a page registers.
fn data(page: &Path, name: &str) -> Value {
    let text = std::fs::read_to_string(page.join(format!("data/{name}.js"))).unwrap();
    let json = text.strip_prefix(&format!("hayloft.add(\"{name}\",")).unwrap().trim_end().strip_suffix(");").unwrap();
    serde_json::from_str(json).unwrap()
}

#[test]
fn a_page_shows_the_latents_and_what_is_said_of_them() {
    let stories = Stories::harvest("--shard-tokens 4096");
    let folder = tempfile::tempdir().unwrap();
    let [made, page, said] = ["latents", "page", "said.jsonl"].map(|name| folder.path().join(name));
    let model = fixture("stories260K");
    let saes = SAES.map(sae);
    let mut paths: Vec<(&str, &Path)> = vec![("--cache", &stories.cache), ("--out", &made), ("--tokenizer", &model)];
    paths.extend(saes.iter().map(|sae| ("--sae", sae.as_path())));
    succeed(&mut program("evaluate", "latents", &paths));
    let explanation = "girls </script>\u{2028}";
    let line = serde_json::json!({"sae": "standard", "latent": 3, "explanation": explanation, "score": 0.75});
    std::fs::write(&said, line.to_string()).unwrap();

    let browse = |options: &str, more: &[(&str, &Path)]| {
        let mut command = program("evaluate", &format!("browse {options}"), more);
        command.arg(&made).arg("--out").arg(&page);
        command
    };
    let options = "--json --compare jumprelu=standard";
    let report: Value = serde_json::from_str(&succeed(&mut browse(options, &[("--explanations", &said)]))).unwrap();
    let counts = &report["saes"][1];
    assert_eq!(
        (&counts["name"], &counts["latents"], &counts["explanations"]),
        (&"standard".into(), &512.into(), &1.into())
    );
    let contents = data(&page, "page");
    assert_eq!(contents["comparisons"], serde_json::json!([{"left": 0, "right": 1, "matching": "index"}]));
    let own = &contents["saes"][1];
    assert_eq!(
        (&own["tokens"], &own["has_texts"], &own["about"]["name"]),
        (&report_tokens(&stories), &true.into(), &"standard".into())
    );
    assert_eq!(data(&page, "1/labels-0")["items"][3]["explanations"][0]["text"], explanation);

    // Every latent that fires has its largest activation first, and tokens whose texts are readable.
    let mut fired = 0;
    for piece in 0..own["latents"].as_array().unwrap().len() {
        let latents = data(&page, &format!("1/latents-{piece}"));
        let texts = latents["shared"]["texts"].as_array().unwrap();
        assert!(texts.iter().all(|text| !text.as_str().unwrap().contains('▁')), "{texts:?}");
        for latent in latents["items"].as_array().unwrap().iter().filter(|own| own["firings"] != 0) {
            let first = &latent["examples"][0];
            assert_eq!((&first["activation"], &first["top"]), (&latent["max"], &true.into()));
            fired += 1;
        }
    }
    assert!(fired > 100, "{fired}");
    let files: u64 = report["files"].as_u64().unwrap();
    assert_eq!(count_files(&page), files);

    // By the decoder's directions, the JumpReLU SAE matches itself in another folder.
    let copy = folder.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for name in ["latents.parquet", "examples.parquet"] {
        std::fs::copy(made.join(name), copy.join(name)).unwrap();
    }
    let options = "--match cosine --compare latents/jumprelu=copy/jumprelu --json";
    let given = ["latents", "copy"].map(|folder| format!("{folder}/jumprelu={}", saes[0].display()));
    let mut command = browse(options, &[]);
    command.arg(&copy).args(given.iter().flat_map(|given| ["--sae", given]));
    succeed(&mut command);
    let matches = std::fs::read_to_string(page.join("data/match-0-latents.js")).unwrap();
    // The numbers 0, 1 and 2, little-endian, in base 64.
    assert!(matches.contains("\"kind\":\"u32\",\"data\":\"AAAAAAEAAAACAAAA"), "{}", &matches[..120]);

    let before = count_files(&page);
    for (options, words) in [
        ("--compare jumprelu=standrad", "got standrad. Did you mean standard?"),
        ("--compare jumprelu=standard --match cosine", "expected the files of jumprelu for its decoder, got none"),
        ("--explanations none.jsonl", "none.jsonl: cannot read"),
    ] {
        let message = refuse(&mut browse(options, &[]));
        assert!(message.contains(words), "{options}: {message}");
    }
    assert_eq!(count_files(&page), before);
    std::fs::write(page.join("notes"), "mine").unwrap();
    assert!(refuse(&mut browse("", &[])).contains("an earlier page, got notes"));
}

/// Tokens that an SAE reads.
fn report_tokens(stories: &Stories) -> Value {
    stories.evaluate(&["standard"], "")[0]["activation_rows"].clone()
}

fn count_files(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { count_files(&path) } else { 1 }).sum()
}
