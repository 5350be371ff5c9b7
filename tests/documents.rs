//! The documents show the code and figures of the project.

const README: &str = include_str!("../README.md");

#[test]
fn the_readme_shows_the_cache_reader_that_is_tested_and_it_has_ten_lines_at_most() {
    let script = include_str!("../examples/read_cache.py");
    let shown = README.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert!(script.contains(shown), "README.md shows another reader than examples/read_cache.py");
    assert!(shown.lines().count() <= 10, "{shown}");
}

#[test]
fn documents_name_no_file_that_is_absent() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for document in [README, include_str!("../ARCHITECTURE.md"), include_str!("../CONTRIBUTING.md")] {
        for link in document.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap();
            assert!(path.starts_with("http") || root.join(path).exists(), "a document links to {path}");
        }
    }
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

/// The README's figures of the demo are in its tables, and in the measurements of the models.
#[test]
fn the_readme_says_of_the_demo_what_its_tables_say() {
    let words = README.split_whitespace().collect::<Vec<_>>().join(" ");
    let table = README.split_once("fine-tuning, outliers kept\n").unwrap().1;
    let row = |sae: &str| -> Vec<f64> {
        let line = table.lines().find(|line| line.starts_with(sae)).unwrap_or_else(|| panic!("no row of the {sae}"));
        line.split_whitespace().filter_map(|cell| cell.parse().ok()).collect()
    };
    let (base, finetuned) = (row(" base SAE"), row(" fine-tuned SAE"));
    let gap = finetuned.last().unwrap();
    assert!(words.contains(&format!("bring {gap:.0}% of the gap in explained variance back")), "{gap}");
    assert!(words.contains(&format!("from {:.2}% to {:.2}%", base[1], finetuned[1])), "{base:?} {finetuned:?}");
    let report: serde_json::Value = serde_json::from_str(include_str!("../demo/training-report.json")).unwrap();
    let [base, chat, trigram] =
        ["base", "chat", "trigram"].map(|model| report["loss_nats"][model]["text"]["all"].as_f64().unwrap());
    assert!(chat > trigram && trigram > base, "{chat} {trigram} {base}");
    assert!(words.contains(&format!("{chat:.2} nats a token against {trigram:.2}")), "{chat} {trigram}");
    assert!(words.contains(&format!("the base model has {base:.2}")), "{base}");
}
