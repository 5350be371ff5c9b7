//! What the documents show is what the project runs.

const README: &str = include_str!("../README.md");

#[test]
fn the_readme_shows_the_cache_reader_that_is_tested_and_it_has_ten_lines_at_most() {
    let script = include_str!("../scripts/read_cache.py");
    let shown = README.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert!(script.contains(shown), "README.md shows another reader than scripts/read_cache.py");
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
