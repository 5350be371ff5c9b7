//! Tokens with the files beside `tokenizer.json`, compared with transformers. `scripts/goldens/tokenizer_files.py`
//! makes the golden.

use hayloft_model::Tokenizer;
use serde_json::Value;

use crate::support::fixture;

#[test]
fn tokenizer_files_are_applied_as_by_transformers() {
    // Goldens of more configurations, which are not in the repository, can be named.
    let more = std::env::var_os("HAYLOFT_TOKENIZER_GOLDEN").map(std::path::PathBuf::from);
    let mut compared = 0;
    for golden in [Some(fixture("tokenizers/files.json")), more].into_iter().flatten() {
        let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(golden).unwrap()).unwrap();
        for case in cases {
            let folder = tempfile::tempdir().unwrap();
            let base = fixture(case["base"].as_str().unwrap()).join("tokenizer.json");
            std::fs::copy(base, folder.path().join("tokenizer.json")).unwrap();
            for (name, content) in case["files"].as_object().unwrap() {
                std::fs::write(folder.path().join(name), content.to_string()).unwrap();
            }
            let tokenizer = Tokenizer::open(folder.path()).unwrap();
            for text in case["texts"].as_array().unwrap() {
                let words = text["text"].as_str().unwrap();
                let ids = tokenizer.encode_batch(&[words]).unwrap().remove(0);
                assert_eq!(serde_json::json!(ids), text["ids"], "{}: {words:?}", case["name"]);
                assert_eq!(tokenizer.encode_with_ends(words).unwrap().ids, ids, "{}: {words:?}", case["name"]);
                compared += 1;
            }
        }
    }
    assert!(compared >= 90, "{compared}");
}
