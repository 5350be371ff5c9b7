//! The documents show the code and figures of the project, and name files that exist.

use std::path::{Path, PathBuf};

const README: &str = include_str!("../README.md");
const QUICKSTART: &str = include_str!("../docs/quickstart.md");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The pages of `docs/`, and the documents that they lead to.
fn documents() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "data-manifests/README.md",
        "data-manifests/study/README.md",
        "data-manifests/gemma-3/README.md",
        "demo/README.md",
        "crates/results/RESULTS.md",
        "store/conformance/README.md",
        "cluster/ray/README.md",
        "cluster/kubernetes/README.md",
        "cluster/slurm/README.md",
    ]
    .map(|name| root().join(name))
    .into();
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                found.push(path);
            }
        }
    }
    found
}

/// Whether a document has a heading of this anchor, as GitHub makes it: in lower case, without punctuation.
fn has_heading(document: &str, anchor: &str) -> bool {
    document.lines().filter(|line| line.starts_with('#')).any(|line| {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
        kept.collect::<String>().replace(' ', "-") == anchor
    })
}

#[test]
fn the_page_on_caches_shows_the_reader_that_is_tested_and_it_has_ten_lines_at_most() {
    let script = include_str!("../examples/read_cache.py");
    let caches = include_str!("../docs/caches.md");
    let shown = caches.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert!(script.contains(shown), "docs/caches.md shows another reader than examples/read_cache.py");
    assert!(shown.lines().count() <= 10, "{shown}");
}

#[test]
fn documents_link_to_no_file_or_heading_that_is_absent() {
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        let folder = document.parent().unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { document.clone() } else { folder.join(path) };
            assert!(target.exists(), "{} links to {link}", document.display());
            let has_it = || has_heading(&std::fs::read_to_string(&target).unwrap(), anchor);
            assert!(
                anchor.is_empty() || has_it(),
                "{} links to a heading that is not there: {link}",
                document.display()
            );
        }
    }
}

/// Paths in code, in a sentence or in a block of commands, are those that begin with a folder of the project.
#[test]
fn documents_name_no_file_that_is_absent() {
    let folders =
        ["crates/", "data-manifests/", "demo/", "docs/", "evaluate/", "harvest/", "scripts/", "store/", "tests/"];
    let mut named = 0;
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for word in text.split('`').skip(1).step_by(2).flat_map(str::split_whitespace) {
            let word = word.trim_matches(|letter| "\"',;:()[]".contains(letter));
            let is_pattern = word.contains(['*', '{', '$', '…', '=']);
            if is_pattern || !folders.iter().any(|folder| word.starts_with(folder)) {
                continue;
            }
            assert!(root().join(word).exists(), "{} names {word}", document.display());
            named += 1;
        }
    }
    assert!(named > 100, "only {named} paths were found");
}

/// The check against SAELens uses exactly the tolerances of the document.
#[test]
fn results_md_has_the_tolerances_of_the_check_against_saelens() {
    let script = include_str!("../scripts/checks/saelens-metrics.py");
    let results = include_str!("../crates/results/RESULTS.md");
    let number = |after: &str| {
        let rest = script.split_once(after).unwrap_or_else(|| panic!("no {after}")).1;
        rest.split(|character: char| character.is_whitespace() || character == '}').next().unwrap()
    };
    let (usual, looser) = (number("\nTOLERANCE = "), number("LOOSER = {\"ce_recovered\": "));
    let words = results.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains(&format!("figures below agree to {usual} of their size")), "{usual}");
    assert!(words.contains(&format!("divides by a gap between losses, to {looser}, or the script fails")), "{looser}");
}

/// The quickstart's figures of the demo are in its tables, and in the measurements of the models.
#[test]
fn the_quickstart_says_of_the_demo_what_its_tables_say() {
    let words = QUICKSTART.split_whitespace().collect::<Vec<_>>().join(" ");
    let table = QUICKSTART.split_once("fine-tuning, outliers kept\n").unwrap().1;
    // A table of ten figures is in two parts.
    let row = |sae: &str| -> Vec<f64> {
        let lines = table.lines().filter(|line| line.starts_with(sae)).take(2);
        lines.flat_map(|line| line.split_whitespace().filter_map(|cell| cell.parse().ok())).collect()
    };
    let (base, finetuned) = (row(" base SAE"), row(" fine-tuned SAE"));
    let gap = finetuned.last().unwrap();
    assert!(words.contains(&format!("bring {gap:.0}% of the gap in explained variance back")), "{gap}");
    assert!(words.contains(&format!("from {:.2}% to {:.2}%", base[1], finetuned[1])), "{base:?} {finetuned:?}");
    let report: serde_json::Value = serde_json::from_str(include_str!("../demo/training-report.json")).unwrap();
    let [base, chat, trigram] =
        ["base", "chat", "trigram"].map(|model| report["loss_nats"][model]["text"]["all"].as_f64().unwrap());
    assert!(trigram > chat && chat > base, "{chat} {trigram} {base}");
    assert!(words.contains(&format!("{chat:.2} nats a token against {trigram:.2}")), "{chat} {trigram}");
    assert!(words.contains(&format!("the base model has {base:.2}")), "{base}");
}

/// The README's table, of `evaluate run`, has the figures of the demo's report.
#[test]
fn the_readme_shows_the_figures_of_the_demo() {
    let cells = |document: &'static str, begins: &str, parts: usize| -> Vec<&'static str> {
        let lines = document.lines().filter(|line| line.starts_with(begins)).take(parts);
        lines.flat_map(str::split_whitespace).filter(|cell| cell.parse::<f64>().is_ok()).collect()
    };
    for (short, long) in [(" base  ", " base SAE  base model "), (" chat  ", " chat SAE  base model ")] {
        let (run, report) = (cells(README, short, 1), cells(QUICKSTART, long, 2));
        assert_eq!((run.len(), report.len()), (9, 9));
        for (run, report) in run.into_iter().zip(report) {
            let decimals = report.split_once('.').unwrap().1.len();
            assert_eq!(format!("{:.decimals$}", run.parse::<f64>().unwrap()), report);
        }
    }
}

#[test]
fn the_readme_is_a_page() {
    let lines = README.lines().count();
    assert!(lines < 120, "{lines} lines");
}
